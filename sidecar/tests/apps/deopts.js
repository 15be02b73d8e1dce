// Optimizes a function and breaks what it was optimized for, over and over, in turns of the event loop.
const http = require('http');
const server = http.createServer((request, response) => response.end('ok'));
server.listen(0, '127.0.0.1', () => console.log('ready ' + server.address().port));

// A new function each time, of a source of its own, as V8 gives up on one that is deoptimized often.
const fresh = number => new Function(`return function planted(a, b) { return a + b /* ${number} */ }`)();
let sum = 0;
let number = 0;
function turn() {
  const planted = fresh(number++);
  const until = Date.now() + 20;
  while (Date.now() < until) for (let at = 0; at < 3000; at++) sum = (sum + planted(at, 1)) | 0;
  // No longer small integers.
  for (let at = 0; at < 200; at++) sum += planted('x', at).length;
  setTimeout(turn, 5);
}
turn();
process.stdin.on('data', text => {
  if (String(text).includes('trace')) console.log('trace ' + globalThis[Symbol.for('pitwall.codeTrace')]);
});
