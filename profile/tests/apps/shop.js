// A shop whose checkout is slow in one function, for a second.
'use strict';

function serializeCart(cart) {
  let sum = 0;
  for (let round = 0; round < 300; round++) {
    for (const item of cart) for (let at = 0; at < item.length; at++) sum = (sum * 31 + item.charCodeAt(at)) | 0;
  }
  return sum;
}

function priceOf(cart) {
  let sum = 0;
  for (let round = 0; round < 300; round++) for (const item of cart) sum += Math.sqrt(item.length + round);
  return sum;
}

function checkout(cart) {
  return serializeCart(cart) + priceOf(cart);
}

const cart = [];
for (let item = 0; item < 100; item++) cart.push('item' + item + 'x'.repeat(40));
const end = Date.now() + 1500;
(function serve() {
  checkout(cart);
  if (Date.now() < end) setTimeout(serve, 2);
})();
