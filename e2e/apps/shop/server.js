// A small shop. GET /checkout is slow in one function, serializeCart; GET /healthz is not.
'use strict';
const http = require('node:http');

const catalogue = Array.from({ length: 400 }, (_, id) => ({
  id,
  name: `article ${id}`,
  price: id * 1.25,
  tags: ['a', 'b', 'c'].map((tag) => `${tag}${id % 7}`),
}));

function serializeCart(items) {
  let text = '';
  for (let round = 0; round < 12; round++) {
    text = '';
    for (const item of items) text += JSON.stringify(item) + '\n';
  }
  return text;
}

function priceOf(items) {
  let sum = 0;
  for (const item of items) sum += item.price;
  return sum;
}

function checkout() {
  const items = catalogue.filter((article) => article.id % 2 === 0);
  return { total: priceOf(items), receipt: serializeCart(items).length };
}

let answered = 0;
const server = http.createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  if (request.url.startsWith('/checkout')) {
    answered++;
    response.end(JSON.stringify(checkout()));
  } else if (request.url.startsWith('/healthz')) {
    response.end(JSON.stringify({ answered }));
  } else {
    response.statusCode = 404;
    response.end('{}');
  }
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.env.PORT || 8080));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
