// Plays model folders of tui-gen with onnxruntime-web: random numbers, sampling and tokens are those of Python, so that
// the same seed makes the same. It knows nothing of a page, and runs in Node.js too.

// Random numbers: NumPy's PCG64, seeded by SeedSequence(seed, spawn_key=(0,)), the stream of a run's first sample.
// https://numpy.org/doc/stable/reference/random/bit_generators/pcg64.html

const MASK_64 = (1n << 64n) - 1n, MASK_128 = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** A function that hashes 32 bits after 32 bits, with another constant each time. */
function hasher(constant, multiplier) {
  return (value) => {
    value ^= constant;
    constant = Math.imul(constant, multiplier);
    value = Math.imul(value, constant);
    return value ^ (value >>> 16);
  };
}

/** The 8 words of 32 bits that the sequence of a seed (a BigInt, 0 or more) begins with. */
function seedWords(seed) {
  const words = [];
  for (let rest = seed; rest > 0n || words.length < 4; rest >>= 32n) words.push(Number(rest & 0xffffffffn));
  words.push(0); // the number of the sample
  const hash = hasher(0x43b0d7e5, 0x931e8875), pool = words.slice(0, 4).map(hash);
  const mix = (to, word) => {
    const value = Math.imul(0xca01f9dd, pool[to]) - Math.imul(0x4973f715, hash(word));
    pool[to] = value ^ (value >>> 16);
  };
  for (let from = 0; from < 4; from++) for (let to = 0; to < 4; to++) if (from !== to) mix(to, pool[from]);
  for (const word of words.slice(4)) for (let to = 0; to < 4; to++) mix(to, word);
  const finish = hasher(0x8b51f9dd, 0x58f38ded);
  return Uint32Array.from({ length: 8 }, (_, at) => finish(pool[at % 4]));
}

export class Noise {
  constructor(seed) {
    const [high, low, c, d] = new BigUint64Array(seedWords(seed).buffer);
    this.increment = (((c << 64n) | d) << 1n | 1n) & MASK_128;
    this.state = (this.increment + ((high << 64n) | low)) & MASK_128;
    this.advance();
  }

  advance() {
    this.state = (this.state * MULTIPLIER + this.increment) & MASK_128;
  }

  /** The next number in [0, 1): one for each token that is drawn. */
  uniform() {
    this.advance();
    const folded = (this.state >> 64n ^ this.state) & MASK_64, turn = this.state >> 122n;
    const bits = (folded >> turn | folded << (64n - turn)) & MASK_64;
    return Number(bits >> 11n) / 2 ** 53;
  }
}

// Sampling.

/** What tokens are drawn by: proportional to their probabilities after the knobs, the likeliest weighs 1. */
export function weights(logits, { temperature, topK }) {
  const peak = logits.reduce((a, b) => Math.max(a, b)), divisor = Math.fround(temperature);
  if (!logits.every(Number.isFinite)) throw new Error("The model gave numbers that are not finite.");
  if (temperature === 0) return new Float32Array(logits.length).fill(1, logits.indexOf(peak), logits.indexOf(peak) + 1);
  const result = logits.map((logit) => Math.exp(Math.fround(Math.fround(logit - peak) / divisor)));
  if (topK > 0 && topK < result.length) {
    const stay = new Set(likeliest(result, topK));
    return result.map((weight, token) => (stay.has(token) ? weight : 0));
  }
  return result;
}

/** The tokens of the largest weights, largest first, lower ids first. */
export function likeliest(weights, count) {
  const border = weights.slice().sort()[Math.max(0, weights.length - count)];
  const tokens = [];
  weights.forEach((weight, token) => weight >= border && tokens.push(token));
  return tokens.sort((a, b) => weights[b] - weights[a] || a - b).slice(0, count);
}

/** Inverse CDF: the token at which the cumulated weights pass a number in [0, 1). */
export function draw(weights, uniform) {
  const target = uniform * weights.reduce((a, b) => a + b, 0);
  let sum = 0, last = 0;
  for (let token = 0; token < weights.length; token++) {
    sum += weights[token];
    if (sum > target) return token;
    if (weights[token] > 0) last = token;
  }
  return last;
}

// Text to tokens and back, as tokenizer.json says.

/** An expression of Oniguruma as one of JavaScript's. */
function expression(pattern) {
  if (pattern.String !== undefined) return new RegExp(pattern.String.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "gu");
  const classes = { s: "\\p{White_Space}", S: "\\P{White_Space}", d: "\\p{Nd}", w: "[\\p{L}\\p{M}\\p{N}\\p{Pc}]" };
  const literal = (sign) => `\\u{${sign.codePointAt().toString(16)}}`;
  const translate = (escape, sign) => classes[sign] ?? (/\w/.test(sign) ? escape : literal(sign));
  return new RegExp(pattern.Regex.replace(/\\(.)/gsu, translate), "gmu");
}

/** A text in pieces, where an expression matches and between: all of them, or only one of the two sorts. */
function cut(text, expression, { behavior, invert = false }) {
  if (!["Isolated", "Removed"].includes(behavior)) throw new Error(`A page cannot read a tokenizer with ${behavior}.`);
  const pieces = [];
  let end = 0;
  for (const { 0: match, index } of text.matchAll(expression)) {
    if (behavior === "Isolated" || !invert) pieces.push(text.slice(end, index));
    if (behavior === "Isolated" || invert) pieces.push(match);
    end = index + match.length;
  }
  if (behavior === "Isolated" || !invert) pieces.push(text.slice(end));
  return pieces.filter(Boolean);
}

const NORMALIZERS = {
  Lowercase: (text) => Array.from(text, (letter) => letter.toLowerCase()).join(""),
  Replace: (text, step) => text.replace(expression(step.pattern), () => step.content),
  Strip: (text, step) => text
    .replace(step.strip_left ? /^\p{White_Space}+/u : "", "").replace(step.strip_right ? /\p{White_Space}+$/u : "", ""),
};
const SPLITTERS = {
  WhitespaceSplit: (text) => cut(text, /\p{White_Space}/gu, { behavior: "Removed" }),
  Punctuation: (text) => cut(text, /[\p{P}$+<=>^`|~]/gu, { behavior: "Isolated" }),
  Split: (text, step) => cut(text, expression(step.pattern), step),
};
const DECODERS = {
  WordPiece: (pieces, { prefix }) => pieces.map((piece, at) =>
    at === 0 ? piece : piece.startsWith(prefix) ? piece.replace(prefix, "") : ` ${piece}`),
  Replace: (pieces, { pattern, content }) => pieces.map((piece) => piece.replaceAll(pattern.String, () => content)),
  Fuse: (pieces) => [pieces.join("")],
};

/** The steps of a part of tokenizer.json, in their order. */
function steps(part, table) {
  const list = part?.normalizers ?? part?.pretokenizers ?? part?.decoders;
  if (list) return list.flatMap((inner) => steps(inner, table));
  if (part && !Object.hasOwn(table, part.type)) throw new Error(`A page cannot read a tokenizer with ${part.type}.`);
  return part ? [part] : [];
}

/** From here on an id stands for what the network does not know. */
const NOWHERE = 2 ** 31;

export class Tokenizer {
  constructor({ model, normalizer, pre_tokenizer: splitter, decoder, added_tokens: added = [] }) {
    if (model.type !== "WordLevel") throw new Error(`A page reads words, characters and phrases, not ${model.type}.`);
    const ids = Object.entries(model.vocab).concat(added.map((token) => [token.content, token.id]));
    this.ids = new Map(ids.filter(([, id]) => id < NOWHERE));
    this.tokens = new Map(Array.from(this.ids, ([token, id]) => [id, token]));
    this.unknown = this.ids.get(model.unk_token);
    this.normalizers = steps(normalizer, NORMALIZERS);
    this.splitters = steps(splitter, SPLITTERS);
    this.decoders = decoder ? steps(decoder, DECODERS) : null;
  }

  /** Each token's id and text; an unknown one has the id that stands for those, or undefined. */
  encode(text) {
    const plain = this.normalizers.reduce((text, step) => NORMALIZERS[step.type](text, step), text);
    const pieces = this.splitters.reduce(
      (pieces, step) => pieces.flatMap((piece) => SPLITTERS[step.type](piece, step)), plain ? [plain] : []);
    return pieces.map((piece) => ({ piece, id: this.ids.get(piece) ?? this.unknown }));
  }

  decode(ids) {
    const pieces = ids.filter((id) => this.tokens.has(id)).map((id) => this.tokens.get(id));
    if (!this.decoders) return pieces.join(" ");
    return this.decoders.reduce((pieces, step) => DECODERS[step.type](pieces, step), pieces).join("");
  }
}

/** The tokens that a run begins with. Throws Error that names what the model does not know. */
export function promptTokens(card, tokenizer, text) {
  const { image } = card, prefix = card.prompt_prefix ?? "", start = text.trimStart().toLowerCase();
  const whole = image || !start || start.startsWith(prefix.trim().toLowerCase()) ? text : prefix + text;
  const tokens = tokenizer ? tokenizer.encode(whole) : [];
  const strange = tokenizer ? tokens.find(({ id }) => id === undefined) : text.trim() && { piece: text.trim() };
  if (strange) throw new Error(`${card.name} does not know “${strange.piece}”; leave it out of the prompt.`);
  const ids = tokens.map(({ id }) => id);
  if (!image) return [card.bos, ...ids];
  const phrases = new Set(ids), rivals = [...phrases].filter((id) => image.exclusive?.includes(id));
  if (rivals.length > 1) {
    const names = rivals.map((id) => `“${tokenizer.tokens.get(id)}”`);
    throw new Error(`${card.name} takes one of ${names.join(" and ")}, not several.`);
  }
  return [card.bos, ...phrases, ...(image.warm_up ?? [])];
}

// The network, and a run of it: (token, state) to (logits, state), one token after the other.

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, float16: globalThis.Float16Array ?? Uint16Array };

export class Network {
  /** runtime: onnxruntime-web. graph: Uint8Array, of model.onnx as it is. */
  static async open(runtime, graph) {
    const session = await runtime.InferenceSession.create(graph, { executionProviders: ["wasm"] });
    return new Network(runtime, session);
  }

  constructor(runtime, session) {
    Object.assign(this, { runtime, session });
    this.start = {};
    for (const { name, type, shape } of session.inputMetadata) {
      if (!name.startsWith("state.")) continue;
      const sizes = [1, ...shape.slice(1)], length = sizes.reduce((a, b) => a * b);
      this.start[name] = new runtime.Tensor(type, new ARRAYS[type](length), sizes);
    }
  }

  async step(token, state) {
    const fed = new this.runtime.Tensor("int64", BigInt64Array.of(BigInt(token)), [1]);
    const { logits, ...after } = await this.session.run({ token: fed, ...state });
    const next = Object.entries(after).map(([name, tensor]) => [name.replace("next.", "state."), tensor]);
    return { logits: Float32Array.from(logits.data), state: Object.fromEntries(next) };
  }
}

export class Run {
  /** prompt: tokens, the first of which nothing predicts. length: of tokens that are drawn, at most. first: the place
   * of the first one; a prompt that is longer has chosen tokens in the place of drawn ones. */
  constructor(network, prompt, options) {
    const { seed, length, eos, first = prompt.length } = options;
    Object.assign(this, { network, prompt, eos, first, options, most: first + length, state: network.start });
    this.noise = new Noise(seed);
    for (let at = first; at < prompt.length; at++) this.noise.advance();
    this.steps = [{ token: prompt[0] }];
    this.ended = this.most <= 1;
  }

  /** Adds the next token, with the logits and the random number that it came from; the knobs count for it alone. */
  async next(knobs) {
    const at = this.steps.length, { logits, state } = await this.network.step(this.steps[at - 1].token, this.state);
    const given = at < this.prompt.length, uniform = given ? undefined : this.noise.uniform();
    const token = given ? this.prompt[at] : draw(weights(logits, knobs), uniform);
    this.state = state;
    this.steps.push({ token, logits, uniform });
    this.ended = at + 1 >= this.most || (!given && token === this.eos);
  }

  /** A run with another token at a place, and the same random numbers from then on. */
  branch(at, token) {
    const before = this.steps.slice(0, at).map((step) => step.token);
    return new Run(this.network, [...before, token], { ...this.options, first: this.first });
  }
}
