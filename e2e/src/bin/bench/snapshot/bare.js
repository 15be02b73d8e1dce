// The least that a client can do: asks for a snapshot, throws every byte away, and prints the seconds.
'use strict';
(async () => {
  const targets = await (await fetch(`http://127.0.0.1:${process.argv[2]}/json/list`)).json();
  const socket = new WebSocket(targets[0].webSocketDebuggerUrl);
  await new Promise((resolve) => (socket.onopen = resolve));
  const begun = performance.now();
  socket.onmessage = ({ data }) => {
    if (!data.startsWith('{"id":1')) return;
    console.log((performance.now() - begun) / 1000);
    process.exit();
  };
  socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.takeHeapSnapshot', params: { reportProgress: true } }));
})();
