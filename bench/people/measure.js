// What the scripts here measure with: CPU of a process, metrics of a pod, percentiles.

import { readFileSync } from 'node:fs';

const TICKS = 100;

/** Seconds of CPU that a process has used, all of its threads. */
export function cpu(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** The sum of what a pod's metrics say of a name, or a name with labels; 0 if the pod does not answer. */
export async function metric(pod, name) {
  const text = await fetch(`${pod.internal}/metrics`, { signal: AbortSignal.timeout(5_000) }).then(
    (answer) => answer.text(),
    () => '',
  );
  const lines = text.split('\n').filter((line) => line.startsWith(name));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

export function percentile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted.length === 0 ? Number.NaN : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

export const median = (values) => percentile(values, 0.5);

export const format = (number, digits = 1) => number.toLocaleString('en', { maximumFractionDigits: digits });
