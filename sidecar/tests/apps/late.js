// A server whose event loop is blocked for 300 ms, twice a second.
const http = require('http');
http.createServer((_, response) => response.end('ok'))
  .listen(0, '127.0.0.1', function () { console.log('ready ' + this.address().port); });
setInterval(() => {
  const until = Date.now() + 300;
  while (Date.now() < until) Math.sqrt(until);
}, 500);
process.stdin.resume();
