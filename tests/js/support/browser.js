// The system's Chromium, with an empty profile and nothing that talks to anybody but the test.

import { chromium } from 'playwright-core';

export const launch = (...args) => begin(args);

/** One that keeps pages for the way back, which a driven browser does not do by itself. */
export const launchKeepingPages = () =>
  begin(['--enable-features=BackForwardCache'], { ignoreDefaultArgs: ['--disable-back-forward-cache'] });

export const executable = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

function begin(args, options = {}) {
  return chromium.launch({ ...options, executablePath: executable, args: [...FLAGS, ...args] });
}
