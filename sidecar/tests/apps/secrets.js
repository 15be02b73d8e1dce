'use strict';
// Holds secrets in every way in which an app does. Each begins with SECRET, which no name of its own does.
const secret = (n) => 'SECRET ' + n + ' ' + 'x'.repeat(3) + Math.floor(1e6);
class Customer {
  constructor(n) { this.cardNumber = secret('card ' + n); this.address = { street: secret('street') }; }
}
const keep = (globalThis.keep = {
  plain: secret('plain'),
  joined: secret('a') + secret('b') + Math.random() + 'abcdefghijklmnop',
  sliced: (secret('parent') + 'z'.repeat(60)).slice(2),
  customers: Array.from({ length: 50 }, (_, n) => new Customer(n)),
  byMail: {}, parsed: JSON.parse('{"SECRET json key with spaces":{"a":"SECRET json value"}}'),
  map: new Map([[secret('map key'), { v: secret('map value') }]]),
  set: new Set([secret('set')]),
  symbol: Symbol(secret('symbol')), symbolKey: { [Symbol(secret('symbol key'))]: 1 },
  regexp: new RegExp(secret('regexp')),
  error: new Error(secret('error')),
  closure: { [secret('function name')]: function () {} },
  made: eval('(function madeAtRunTime(){return "SECRET in source"})'),
  text: Buffer.from(secret('buffer')).toString(),
  environment: process.env.TEST_SECRET,
  template: ((s) => s)`SECRET template`,
  long: 'SECRET long ' + 'y'.repeat(5000),
  weak: new WeakMap(), weakKey: {},
});
for (let i = 0; i < 2000; i++) keep.byMail[`SECRET.${i}@customers.example`] = { i };
keep.token = {}; keep.token['SECRET' + 'a1b2c3d4'.repeat(8)] = {};
keep.weak.set(keep.weakKey, secret('weak value'));
keep.timer = setTimeout(() => {}, 1e8, secret('timer'));
require('node:http').createServer((_, r) => r.end('ok')).listen(0, '127.0.0.1', function () {
  console.log(`ready ${this.address().port}`);
});
