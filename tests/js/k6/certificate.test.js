// A renewed certificate, put in place as the kubelet does with a mounted Secret: a new folder, and one link that is swapped.

import assert from 'node:assert/strict';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';

import { withFolder } from '../support/folder.js';
import { certificate } from '../support/certificate.js';
import { Pod } from '../support/pod.js';
import { until } from '../support/process.js';

const served = (port) =>
  new Promise((done, failed) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      done(socket.getPeerCertificate().subject.CN);
      socket.destroy();
    });
    socket.on('error', failed);
  });

/** Writes a version of the Secret, and makes `..data` point to it in one step. */
async function project(folder, version, [crt, key]) {
  await mkdir(join(folder, version));
  await writeFile(join(folder, version, 'tls.crt'), crt);
  await writeFile(join(folder, version, 'tls.key'), key);
  await symlink(version, join(folder, '..data_tmp'));
  await rename(join(folder, '..data_tmp'), join(folder, '..data'));
}

test('a renewed Secret is taken up within seconds, without a restart, and nobody is disconnected', async () => {
  await withFolder({}, async (folder) => {
    await project(folder, '..first', await certificate('first'));
    for (const name of ['tls.crt', 'tls.key']) await symlink(`..data/${name}`, join(folder, name));
    const args = ['--cert', join(folder, 'tls.crt'), '--key', join(folder, 'tls.key'), '--anonymous'];
    const running = await Pod.start({ args, dev: false });
    try {
      const { port } = running;
      assert.equal(await served(port), 'first');
      const standing = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
      let ended = false;
      standing.on('close', () => (ended = true)).on('error', () => {});
      await new Promise((open) => standing.once('secureConnect', open));
      standing.write(
        'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
      );
      await new Promise((answered) => standing.once('data', answered));
      await project(folder, '..second', await certificate('second'));
      await until(async () => (await served(port)) === 'second', 15_000, 'the new certificate is not served');
      assert.equal(ended, false);
      standing.destroy();
    } finally {
      await running.end();
    }
  });
});
