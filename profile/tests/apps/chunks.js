// Records itself in five overlapping chunks, and as a whole beside them: one line each, the whole one last.
'use strict';
const fs = require('fs');
const inspector = require('inspector');

function hotLoop(milliseconds) {
  const end = Date.now() + milliseconds;
  let sum = 0;
  while (Date.now() < end) for (let at = 0; at < 10000; at++) sum += Math.sqrt(at);
  return sum;
}

function early() {
  return hotLoop(60);
}

function late() {
  return hotLoop(60);
}

const session = new inspector.Session();
session.connect();
const profiles = new Map();
session.on('Profiler.consoleProfileFinished', ({ params }) => profiles.set(params.title, params.profile));
session.post('Profiler.enable');
session.post('Profiler.setSamplingInterval', { interval: 1000 });

(async () => {
  const chunks = 5;
  console.profile('chunk 0');
  console.profile('whole');
  for (let chunk = 0; chunk < chunks; chunk++) {
    for (let round = 0; round < 2; round++) {
      (chunk < 2 ? early : late)();
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    if (chunk + 1 < chunks) {
      console.profile(`chunk ${chunk + 1}`);
      hotLoop(8);
    } else {
      console.profileEnd('whole');
    }
    console.profileEnd(`chunk ${chunk}`);
  }
  const all = [...Array(chunks).keys()].map((chunk) => profiles.get(`chunk ${chunk}`));
  fs.writeFileSync(process.argv[2], [...all, profiles.get('whole')].map((profile) => JSON.stringify(profile)).join('\n'));
})();
