// Starts the vote: a pod with the embedded broker, and the page.
//
//   node examples/react/start.mjs

import { podUrl, start } from '../support/example.mjs';

await start({
  folder: new URL('./', import.meta.url),
  entry: 'src/main.tsx',
  answers: { '/pod': () => [200, { url: podUrl }] },
  says: 'The vote, to be opened in several windows',
});
