// One pod as a node's kubelet would run it, from the rendered Deployment: its configuration, variables and arguments, its probes,
// preStop, SIGTERM, and SIGKILL when the grace period is over. What a container would have of its own is moved: mounts to a folder,
// ports to free ones.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { environment } from './helm.js';
import { freePorts } from './ports.js';
import { Process, status, until } from './process.js';

export class KubeletPod {
  /**
   * Endpoints go to `services`: `[{balancer, port: 'wss' | 'ws' | 'internal', notReady}]`; with `notReady` (publishNotReadyAddresses)
   * a pod is one for as long as it exists. `mounts` are the files of Secrets by path.
   */
  constructor(name, documents, { binary, services, mounts }) {
    Object.assign(this, { name, documents, binary, services, mounts });
    this.spec = documents.pod;
    this.container = documents.container;
    this.ready = false;
    this.terminating = false;
    this.exists = true;
  }

  async start() {
    this.folder = await mkdtemp(join(tmpdir(), 'roomcast-pod-'));
    const named = this.container.ports.filter(({ protocol }) => protocol === 'TCP');
    const free = await freePorts(named.length);
    this.ports = Object.fromEntries(named.map(({ name }, n) => [name, free[n]]));
    // The folder stands for the container's root.
    let toml = this.documents.toml;
    const own = (path) => join(this.folder, path.replaceAll('/', '_'));
    for (const { mountPath } of this.container.volumeMounts) {
      await mkdir(own(mountPath));
      toml = toml.replaceAll(`"${mountPath}/`, `"${own(mountPath)}/`);
    }
    for (const { name, containerPort } of named)
      toml = toml.replaceAll(`":${containerPort}"`, `"127.0.0.1:${this.ports[name]}"`);
    if (/":\d+"/.test(toml)) throw new Error(`a listener has no port of its own:\n${toml}`);
    const configured = this.container.volumeMounts.find(({ name }) => name === 'configuration').mountPath;
    await writeFile(join(own(configured), 'roomcast.toml'), toml);
    for (const [path, text] of Object.entries(this.mounts)) {
      const mount = this.container.volumeMounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`));
      await writeFile(join(own(mount.mountPath), path.slice(mount.mountPath.length + 1)), text);
    }
    const args = this.container.args.map((arg) => arg.replace(`${configured}/`, `${own(configured)}/`));
    this.process = new Process(this.binary, args, { cwd: this.folder, env: environment(this.documents) });
    this.began = Date.now();
    this.#endpoints();
    await this.#started();
    this.probing = this.#probe();
    return this;
  }

  #url(probe) {
    return `http://127.0.0.1:${this.ports[probe.httpGet.port]}${probe.httpGet.path}`;
  }

  async #started() {
    const probe = this.container.startupProbe;
    for (let failures = 0; ; ) {
      if (this.process.ended)
        throw new Error(`${this.name} ended: ${JSON.stringify(this.process.ended)}\n${this.process.log}`);
      if ((await status(this.#url(probe), probe.timeoutSeconds * 1000)) === 200) return;
      if (++failures >= probe.failureThreshold) throw new Error(`${this.name} did not start:\n${this.process.log}`);
      await sleep(Math.min(250, probe.periodSeconds * 1000)); // a real kubelet waits longer; nothing here depends on it
    }
  }

  /** Readiness decides about endpoints, liveness about the pod's life. */
  async #probe() {
    const { readinessProbe: readiness, livenessProbe: liveness } = this.container;
    let [failed, dead, next] = [0, 0, 0];
    this.answers = [];
    // What a load balancer's health check would hear.
    this.accepting = [];
    while (!this.process.ended) {
      const answer = await status(this.#url(readiness), readiness.timeoutSeconds * 1000);
      this.answers.push(answer);
      failed = answer === 200 ? 0 : failed + 1;
      if (answer === 200) this.ready = true;
      else if (failed >= (readiness.failureThreshold ?? 3)) this.ready = false;
      this.#endpoints();
      this.accepting.push(await status(this.#url({ httpGet: { ...readiness.httpGet, path: '/accepting' } })));
      if (Date.now() >= next && !this.terminating) {
        next = Date.now() + liveness.periodSeconds * 1000;
        dead = (await status(this.#url(liveness), liveness.timeoutSeconds * 1000)) === 200 ? 0 : dead + 1;
        if (dead >= liveness.failureThreshold) throw new Error(`${this.name} would be killed by its liveness probe`);
      }
      await Promise.race([sleep(readiness.periodSeconds * 1000, null, { ref: false }), this.process.exit]);
    }
    this.ready = false;
    this.#endpoints();
  }

  #endpoints() {
    for (const { balancer, port, notReady } of this.services) {
      if (notReady ? this.exists : this.ready && !this.forgotten) balancer.endpoints.add(this.ports[port]);
      else balancer.endpoints.delete(this.ports[port]);
    }
  }

  async untilReady() {
    const patience = this.container.startupProbe.failureThreshold * this.container.startupProbe.periodSeconds * 1000;
    await until(
      () => this.ready || this.process.ended,
      patience,
      () => `${this.name} is not ready:\n${this.process.log}`,
    );
    if (!this.ready) throw new Error(`${this.name} ended:\n${this.process.log}`);
  }

  /** What happens when the pod is deleted. `lag` is how long balancers take to learn of it, milliseconds. */
  async terminate({ lag }) {
    this.terminating = true;
    const began = Date.now();
    sleep(lag).then(() => {
      this.forgotten = true;
      this.#endpoints();
    });
    await sleep((this.container.lifecycle?.preStop.sleep.seconds ?? 0) * 1000);
    this.process.signal('SIGTERM');
    const left = this.spec.terminationGracePeriodSeconds * 1000 - (Date.now() - began);
    const ended = await Promise.race([this.process.exit, sleep(left, null, { ref: false })]);
    if (!ended) this.process.signal('SIGKILL');
    await this.probing;
    const seconds = (Date.now() - began) / 1000;
    await sleep(lag);
    this.exists = false;
    this.#endpoints();
    return { ...(ended ?? { killed: true }), seconds };
  }

  async stop() {
    await this.process?.stop();
    await this.probing?.catch(() => {});
    this.exists = false;
    if (this.ports) this.#endpoints();
    if (this.folder) await rm(this.folder, { recursive: true, force: true });
  }
}
