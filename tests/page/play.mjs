// What player.js of a site makes of runs and texts, in Node.js: node play.mjs SITE, with both as JSON on stdin.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const site = (name) => `${process.argv[2]}/${name}`;
const { Network, Run, Tokenizer, promptTokens } = await import(pathToFileURL(site("player.js")));
const read = (folder, name) => readFileSync(site(`models/${folder}/${name}`));

async function play({ model, prompt, seed, length, ...knobs }) {
  const runtime = await import(pathToFileURL(site("runtime/ort.wasm.min.mjs")));
  runtime.env.wasm.numThreads = 1;
  const card = JSON.parse(read(model, "config.json"));
  const tokenizer = new Tokenizer(JSON.parse(read(model, "tokenizer.json")));
  const network = await Network.open(runtime, new Uint8Array(read(model, "model.onnx")));
  const run = new Run(network, promptTokens(card, tokenizer, prompt), { seed: BigInt(seed), length, eos: card.eos });
  while (!run.ended) await run.next(knobs);
  return run.steps.map(({ token, uniform }) => ({ token, uniform }));
}

function encode({ tokenizer, text }) {
  const reader = new Tokenizer(JSON.parse(tokenizer)), ids = reader.encode(text).map(({ id }) => id ?? null);
  return { ids, text: reader.decode(ids) };
}

const { runs = [], texts = [] } = JSON.parse(readFileSync(0, "utf-8"));
const results = { runs: [], texts: texts.map(encode) };
for (const run of runs) results.runs.push(await play(run));
console.log(JSON.stringify(results));
