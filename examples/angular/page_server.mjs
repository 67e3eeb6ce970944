// Serves what `ng build` has made, and hands requests below /api to the backend.

import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const built = new URL('./dist/', import.meta.url);
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html', '.svg': 'image/svg+xml' };
const MOST_BODY = 64 * 1024;

export function pageServer(backend, pods) {
  const connects = pods.flatMap((pod) => [pod, pod.replace(/^http/, 'ws')]).join(' ');
  return createServer(async (request, answer) => {
    const { pathname, searchParams } = new URL(request.url, 'http://here');
    try {
      if (pathname.startsWith('/api/')) await ask(backend, pathname, searchParams, request, answer);
      else await file(pathname, connects, answer);
    } catch (error) {
      console.error(error);
      if (!answer.headersSent) say(answer, 502, { error: 'That did not work. Try again.' });
    }
  });
}

async function ask(backend, path, parameters, request, answer) {
  let text = '';
  for await (const part of request.setEncoding('utf8')) {
    text += part;
    if (text.length > MOST_BODY) return say(answer, 413, { error: 'That is too long.' });
  }
  let body;
  try {
    body = text ? JSON.parse(text) : undefined;
  } catch {
    return say(answer, 400, { error: 'That is no JSON.' });
  }
  const token = request.headers.authorization?.replace(/^Bearer /, '');
  say(answer, ...(await backend.answer({ method: request.method, path, parameters, body, token })));
}

function say(answer, status, value) {
  answer.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  answer.end(JSON.stringify(value));
}

/** A path without an ending is a screen of the application, which finds it by itself. */
async function file(path, connects, answer) {
  const name = extname(path) ? path.slice(1) : 'index.html';
  const isOwn = /^[\w.-]+$/.test(name);
  const contents = isOwn && (await readFile(new URL(name, built)).catch(() => undefined));
  if (!contents) return say(answer, 404, { error: 'There is no such page.' });
  const headers = { 'content-type': `${TYPES[extname(name)] ?? 'application/octet-stream'}; charset=utf-8` };
  if (name !== 'index.html') {
    answer.writeHead(200, headers);
    return answer.end(contents);
  }
  // Styles of components come with the scripts that need them, and say by this word that they are the page's own.
  const nonce = randomBytes(16).toString('base64');
  const styles = `style-src 'self' 'nonce-${nonce}'`;
  const policy = `default-src 'self'; ${styles}; connect-src 'self' ${connects}; img-src 'self' data:`;
  answer.writeHead(200, { ...headers, 'cache-control': 'no-store', 'content-security-policy': policy });
  answer.end(contents.toString().replaceAll('"NONCE"', `"${nonce}"`));
}
