'use strict';
// Two functions take turns, 50 ms each, and the app answers HTTP. By what it hears, it ends profiles as an app may
// that profiles itself, hides the functions for it, loops for ever, or exits.
const http = require('node:http');

// Too long to be inlined: an inlined function has no frame.
const long = name => eval(`(function ${name}(a) { ${'a = Math.sqrt(a + 1);'.repeat(200)} return a; })`);
const theFirst = long('theFirst'), theSecond = long('theSecond'), spin = long('spin');

function busy(run, milliseconds) {
  const until = Date.now() + milliseconds;
  while (Date.now() < until) run(1);
}

function turn() {
  busy(theFirst, 50);
  busy(theSecond, 50);
  setImmediate(turn);
}

let hidden = 0;
const { profileEnd } = console;
process.stdin.on('data', text => {
  // Several words may come at once.
  const heard = String(text);
  if (heard.includes('exit')) process.exit(7);
  if (heard.includes('loop')) setTimeout(() => { for (;;) busy(spin, 5); }, 10);
  if (heard.includes('end')) setTimeout(() => profileEnd(), 1000);
  if (heard.includes('hide')) {
    globalThis.profile = globalThis.profileEnd = console.profile = console.profileEnd = () => { hidden++; };
  }
  if (heard.includes('hidden')) console.log(`hidden ${hidden}`);
});
const server = http.createServer((_, response) => response.end('ok\n'));
server.listen(0, '127.0.0.1', () => {
  console.log(`ready ${server.address().port}`);
  turn();
});
