// `node portkey_cluster.mjs SERVER OPTION…`: the server's module in $WORKERS processes on one port.
import cluster from 'node:cluster';
import { pathToFileURL } from 'node:url';

const [server] = process.argv.splice(2, 1);
const workers = Number(process.env.WORKERS ?? 1);

if (workers > 1 && cluster.isPrimary) {
  cluster.setupPrimary({ args: [server, ...process.argv.slice(2)] });
  for (let number = 0; number < workers; number += 1) cluster.fork();
} else {
  await import(pathToFileURL(server).href);
}
