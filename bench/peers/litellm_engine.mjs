// Stands in for Prisma's query engine, whose binary is not on PyPI or npm: its HTTP protocol, served by the WebAssembly
// engine of @prisma/client through @prisma/adapter-pg. LiteLLM's Prisma client starts it: `… MODULES -p PORT …`.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

if (process.argv.includes('--version')) {
  console.log('query-engine out of @prisma/client');
  process.exit(0);
}
const require = createRequire(join(process.argv[2], 'package.json'));
const port = Number(process.argv[process.argv.indexOf('-p') + 1]);

const runtime = join(dirname(require.resolve('@prisma/client/package.json')), 'runtime');
const bindings = require(join(runtime, 'query_engine_bg.postgresql.js'));
const wasm = new WebAssembly.Module(readFileSync(join(runtime, 'query_engine_bg.postgresql.wasm')));
bindings.__wbg_set_wasm(new WebAssembly.Instance(wasm, { './query_engine_bg.js': bindings }).exports);

const { PrismaPg } = require('@prisma/adapter-pg');
const { bindAdapter } = require('@prisma/driver-adapter-utils');
const { Pool } = require('pg');
const { parse, valueFromASTUntyped } = require('graphql');
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
const datamodel = readFileSync(process.env.PRISMA_DML_PATH, 'utf8');
const engine = new bindings.QueryEngine(
  {
    datamodel,
    logLevel: 'error',
    logQueries: false,
    configDir: '.',
    env: { DATABASE_URL: process.env.DATABASE_URL },
    ignoreEnvVarErrors: true,
  },
  (line) => console.error(line),
  bindAdapter(new PrismaPg(pool)),
);
await engine.connect('{}');

// Model by model, the fields that hold JSON.
const JSON_FIELDS = new Map(
  [...datamodel.matchAll(/^model (\w+) \{([^]*?)^\}/gm)].map(([, model, body]) => [
    model,
    new Set([...body.matchAll(/^\s+(\w+)\s+Json\b/gm)].map(([, field]) => field)),
  ]),
);

const ACTION = /^(create(?:One|Many)|delete(?:One|Many)|update(?:One|Many)|upsertOne|queryRaw|executeRaw|aggregate|groupBy|findMany|findFirst|findUnique)(.*?)(OrThrow)?$/;

// LiteLLM's client speaks GraphQL, the engine its JSON protocol.
function selection(set) {
  return Object.fromEntries((set?.selections ?? []).map((each) => [each.name.value, each.selectionSet ? query(each) : true]));
}

// The JSON protocol wants to be told which strings are JSON.
function typed(value, fields, name) {
  if (typeof value === 'string') return fields.has(name) ? { $type: 'Json', value } : value;
  if (Array.isArray(value)) return value.map((each) => typed(each, fields, name));
  if (value === null || typeof value !== 'object') return value;
  const inner = (key) => (key === 'set' || key === 'equals' ? name : key);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, typed(each, fields, inner(key))]));
}

function query(field, json = new Set()) {
  const given = field.arguments.map((each) => [each.name.value, typed(valueFromASTUntyped(each.value), json)]);
  return { arguments: Object.fromEntries(given), selection: selection(field.selectionSet) };
}

function operation(field) {
  const [, action, model, strict] = ACTION.exec(field.name.value);
  return { modelName: model || undefined, action: action + (strict ?? ''), query: query(field, JSON_FIELDS.get(model)) };
}

// Rows of a raw query: the columns of JSON are text still.
function raw({ columns, types, rows }) {
  const parsed = rows.map((row) => row.map((each, at) => (types[at] === 'json' && typeof each === 'string' ? JSON.parse(each) : each)));
  return { columns, types, rows: parsed };
}

function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  if ('$type' in value) return value.value;
  if (Array.isArray(value.rows) && Array.isArray(value.types)) return raw(value);
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
}

// One document, or a batch of them: an answer each, under the names that the document gives its fields.
async function run(body, transaction) {
  const asked = JSON.parse(body);
  const fields = (asked.batch ?? [asked]).flatMap((each) => parse(each.query).definitions[0].selectionSet.selections);
  const all = fields.map(operation);
  const single = all.length === 1 && !asked.batch;
  const wanted = single ? all[0] : { batch: all, transaction: asked.transaction ? {} : undefined };
  const found = JSON.parse(await engine.query(JSON.stringify(wanted), '{}', transaction));
  if (found.errors) return JSON.stringify(found);
  const named = (single ? [found] : found.batchResult).map((each, at) => {
    if (each.errors) return each;
    return { data: { [fields[at].alias?.value ?? fields[at].name.value]: plain(Object.values(each.data)[0]) } };
  });
  if (asked.batch) return JSON.stringify({ batchResult: named });
  return JSON.stringify(named.find((each) => each.errors) ?? { data: Object.assign({}, ...named.map((each) => each.data)) });
}

async function answer(request, body) {
  const [, what, id, act] = request.url.split('/');
  if (what === 'status') return '{"status":"ok"}';
  if (what === 'metrics') return '{}';
  if (what !== 'transaction') return run(body, request.headers['x-transaction-id']);
  if (id === 'start') return engine.startTransaction(body, '{}');
  return act === 'commit' ? engine.commitTransaction(id, '{}') : engine.rollbackTransaction(id, '{}');
}

createServer(async (request, response) => {
  let body = '';
  for await (const part of request) body += part;
  try {
    const found = await answer(request, body);
    response.writeHead(200, { 'content-type': 'application/json' }).end(found);
  } catch (error) {
    console.error(error);
    response.writeHead(500, { 'content-type': 'application/json' }).end(JSON.stringify({ errors: [String(error)] }));
  }
}).listen(port, '127.0.0.1');
