// Calls itself along ever new paths, so that its profile has very many nodes.
const functions = [];
for (let i = 0; i < 300; i++) {
  functions.push(new Function('functions', 'depth', `
    if (depth === 0) { let x = 0; for (let i = 0; i < 20000; i++) x += i; return x; }
    return functions[Math.floor(Math.random() * 300)](functions, depth - 1) + 1;
    //# sourceURL=file:///app/a/rather/long/path/to/a/function/number/${i}.js`));
}
setInterval(() => {
  const end = Date.now() + 20;
  while (Date.now() < end) functions[0](functions, 120);
}, 21);
// Not before Node's own start is over, which in part follows the script.
setImmediate(() => console.log('ready'));
