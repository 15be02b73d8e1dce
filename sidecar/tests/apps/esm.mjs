// The same as an ES module that names itself, which overrides comm and cmdline.
import http from 'node:http';
process.title = 'checkout';
function* makeSlow() { for (let x = 0, n = 0; n < 20_000; n++) x += Math.sqrt(n + x); yield 1; }
setInterval(() => { const until = Date.now() + 20; while (Date.now() < until) [...makeSlow()]; }, 40);
setInterval(() => console.log('tick'), 50);
const server = http.createServer((_, r) => r.end('ok')).listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
