// Begins and ends profiles of its own as fast as it can: each is sent to whoever is attached. Serves HTTP.
'use strict';
const http = require('node:http');
function ownWork(milliseconds) {
  const until = Date.now() + milliseconds;
  let sum = 0;
  while (Date.now() < until) sum += Math.sqrt(sum + 1);
  return sum;
}
let turn = 0;
setInterval(() => {
  const title = `flood ${turn++}`;
  console.profile(title);
  // While one is under way, others cost next to nothing: thousands a second.
  for (let i = 0; i < 40; i++) console.profile(`${title} ${i}`);
  ownWork(3);
  for (let i = 0; i < 40; i++) console.profileEnd(`${title} ${i}`);
  console.profileEnd(title);
}, 1);
http.createServer((_, response) => response.end('ok'))
  .listen(0, '127.0.0.1', function () { console.log('ready ' + this.address().port); });
process.stdin.resume();
