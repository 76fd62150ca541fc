// Plays models of a site in Node.js, as its page would: node play.mjs SITE, with the runs as JSON on stdin.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const site = (name) => `${process.argv[2]}/${name}`;
const { Network, Run, Tokenizer, promptTokens } = await import(pathToFileURL(site("player.js")));
const runtime = await import(pathToFileURL(site("runtime/ort.wasm.min.mjs")));
runtime.env.wasm.numThreads = 1;
const read = (folder, name) => readFileSync(site(`models/${folder}/${name}`));
const networks = new Map();

async function play({ model, prompt, seed, length, ...knobs }) {
  const card = JSON.parse(read(model, "config.json")), tokenizer = new Tokenizer(JSON.parse(read(model, "tokenizer.json")));
  if (!networks.has(model)) networks.set(model, await Network.open(runtime, new Uint8Array(read(model, "model.onnx"))));
  try {
    const run = new Run(networks.get(model), promptTokens(card, tokenizer, prompt), { seed: BigInt(seed), length, eos: card.eos });
    while (!run.ended) await run.next(knobs);
    const tokens = run.steps.map((step) => step.token), drawn = tokens.slice(1).filter((token) => token !== card.eos);
    return { tokens, text: tokenizer.decode(drawn), uniform: run.steps.map((step) => step.uniform ?? null) };
  } catch (fault) {
    return { error: fault.message };
  }
}

const results = [];
for (const run of JSON.parse(readFileSync(0, "utf-8"))) results.push(await play(run));
console.log(JSON.stringify(results));
