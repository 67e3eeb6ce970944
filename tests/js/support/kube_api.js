// As much of a Kubernetes API as `lookup` in a chart's templates asks: discovery, objects by their names, and the Services of a
// namespace. Nothing can be changed.

import { createServer } from 'node:http';

const RESOURCES = {
  '/api/v1': [
    ['namespaces', 'Namespace', false],
    ['secrets', 'Secret', true],
    ['services', 'Service', true],
  ],
  '/apis/apps/v1': [['deployments', 'Deployment', true]],
};

/** Runs `use` with the address of an API that has the objects. */
export async function withApi(objects, use) {
  const found = new Map();
  for (const object of objects) {
    const [base, [name, , namespaced]] = Object.entries(RESOURCES)
      .flatMap(([base, kinds]) => kinds.map((kind) => [base, kind]))
      .find(([, [, kind]]) => kind === object.kind);
    const namespace = namespaced ? `/namespaces/${object.metadata.namespace}` : '';
    found.set(`${base}${namespace}/${name}/${object.metadata.name}`, object);
  }
  const answer = (path) => {
    if (path in RESOURCES) {
      const resources = RESOURCES[path].map(([name, kind, namespaced]) => {
        return { name, singularName: '', kind, namespaced, verbs: ['get', 'list'] };
      });
      return { kind: 'APIResourceList', groupVersion: path.replace(/^\/apis?\//, ''), resources };
    }
    if (/^\/api\/v1\/namespaces\/[^/]+\/services$/.test(path)) {
      const items = [...found].filter(([at]) => at.startsWith(`${path}/`)).map(([, object]) => object);
      return { kind: 'ServiceList', apiVersion: 'v1', metadata: {}, items };
    }
    return found.get(path);
  };
  const server = createServer((request, response) => {
    const body = answer(request.url.split('?')[0]);
    response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' });
    const missing = { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason: 'NotFound', code: 404 };
    response.end(JSON.stringify(body ?? missing));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}
