// Records itself while it waits for a second, as a service that nobody asks. Without its start, which takes long on
// a machine that has other things to do.
'use strict';
const fs = require('fs');
const inspector = require('inspector');

const session = new inspector.Session();
session.connect();
const post = (method) =>
  new Promise((resolve, reject) => session.post(method, (error, result) => (error ? reject(error) : resolve(result))));

(async () => {
  await post('Profiler.enable');
  await post('Profiler.start');
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const { profile } = await post('Profiler.stop');
  fs.writeFileSync(process.argv[2], JSON.stringify(profile));
})();
