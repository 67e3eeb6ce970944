// Self-signed certificates, made by openssl.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { withFolder } from './folder.js';

/** `[certificate, key]`, PEM. */
export const certificate = (name = 'localhost') =>
  withFolder({}, async (folder) => {
    const [crt, key] = [join(folder, 'a.crt'), join(folder, 'a.key')];
    const args = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    ];
    execFileSync('openssl', [...args, '-keyout', key, '-out', crt], { stdio: 'ignore' });
    return [readFileSync(crt, 'utf8'), readFileSync(key, 'utf8')];
  });
