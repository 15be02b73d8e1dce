// What one would write in an afternoon: chrome-remote-interface takes a heap snapshot, and the AWS SDK uploads it,
// compressed, as it comes. Prints its peak of memory in MiB, before and after.
'use strict';
const CDP = require('chrome-remote-interface');
const { S3Client, CreateBucketCommand } = require('@aws-sdk/client-s3');
const { Upload } = require('@aws-sdk/lib-storage');
const zlib = require('node:zlib');

const [port, endpoint] = process.argv.slice(2);
const peak = () => process.resourceUsage().maxRSS / 1024;

(async () => {
  const credentials = { accessKeyId: 'bench', secretAccessKey: 'bench-secret' };
  const s3 = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
  for (let tries = 0; ; tries++) {
    try {
      await s3.send(new CreateBucketCommand({ Bucket: 'bench' }));
      break;
    } catch (error) {
      if (tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
  const idle = peak();
  const client = await CDP({ port: Number(port), local: true });
  const gzip = zlib.createGzip({ level: 1 });
  const upload = new Upload({
    client: s3,
    params: { Bucket: 'bench', Key: 'it.heapsnapshot.gz', Body: gzip },
    partSize: 8 << 20,
    queueSize: 1,
  });
  const uploaded = upload.done();
  client.HeapProfiler.addHeapSnapshotChunk(({ chunk }) => gzip.write(chunk));
  await client.HeapProfiler.takeHeapSnapshot({ reportProgress: false });
  gzip.end();
  await uploaded;
  await client.close();
  console.log(JSON.stringify({ idle, peak: peak() }));
  process.exit();
})();
