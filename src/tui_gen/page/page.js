// The page: what is asked for, what comes of it, and the distribution at the cursor. What plays is in player.js.
// Whatever a model, its card or its vocabulary says is shown as text, never as markup.

import { Network, Run, Tokenizer, likeliest, promptTokens, weights } from "./player.js";

const LENGTH = 300, SHOWN = 12, SEEDS = 10000, CONTEXT = 8;
const AT_ONCE = 12; // milliseconds of steps between two frames
const SIGNS = { " ": "␣", "\n": "⏎", "\t": "⇥" };

const find = (id) => document.getElementById(id);
const percent = (part) => (part > 0 && part < 5e-5 ? "<0.01 %" : `${(100 * part).toFixed(part < 0.0995 ? 2 : 1)} %`);

/** An element with a class, and a text or others in it. */
function element(name, className, ...content) {
  const made = Object.assign(document.createElement(name), { className });
  made.append(...content);
  return made;
}

/** How the tokens of a text are shown: a span each. */
class TextView {
  constructor(card, tokenizer) {
    Object.assign(this, { card, tokenizer, unit: "token", place: find("text") });
  }

  length() {
    return LENGTH;
  }

  clear() {
    this.place.replaceChildren();
  }

  add(steps, at, first) {
    const ids = steps.slice(Math.max(1, at - CONTEXT), at + 1).map((step) => step.token);
    const { token } = steps[at], ends = token === this.card.eos && at >= first;
    const whole = this.tokenizer.decode(ids), before = this.tokenizer.decode(ids.slice(0, -1));
    const text = ends ? "" : whole.startsWith(before) ? whole.slice(before.length) : whole;
    const span = element("span", at < first ? "prompt" : "", this.tokenizer.tokens.has(token) ? text : ` ${token} `);
    span.dataset.at = at;
    this.place.append(span);
  }

  point(at) {
    this.place.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const span = this.place.children[at - 1], box = find("output"); // which alone scrolls, not the page
    span.setAttribute("aria-current", "true");
    const below = span.offsetTop + span.offsetHeight - box.clientHeight;
    box.scrollTop = Math.min(Math.max(box.scrollTop, below), span.offsetTop);
  }

  /** Which token somebody points to. */
  at(event) {
    return Number(event.target.dataset.at ?? NaN);
  }

  row() {
    return 10;
  }

  label(token) {
    if (token === this.card.eos) return ["end"];
    return [Array.from(this.tokenizer.tokens.get(token) ?? `token ${token}`, (sign) => SIGNS[sign] ?? sign).join("")];
  }
}

/** How the tokens of a picture are shown: pixels of a canvas. */
class PictureView {
  constructor(card) {
    this.image = { channels: 1, ...card.image };
    Object.assign(this, { unit: this.image.channels === 1 ? "pixel" : "value", place: find("picture") });
    const { width, height } = Object.assign(find("canvas"), { width: this.image.width, height: this.image.height });
    this.place.style.aspectRatio = `${width} / ${height}`;
    this.context = find("canvas").getContext("2d");
  }

  length() {
    return this.image.height * this.image.width * this.image.channels;
  }

  clear() {
    this.context.clearRect(0, 0, this.image.width, this.image.height);
    find("frame").hidden = true;
  }

  add(steps, at, first) {
    if (at < first) return;
    const { channels, width } = this.image, pixel = Math.floor((at - first) / channels);
    const levels = Array(channels).fill(0);
    for (let channel = 0, step; (step = steps[first + pixel * channels + channel]) && channel < channels; channel++) {
      levels[channel] = step.token;
    }
    this.context.fillStyle = this.colour(levels);
    this.context.fillRect(pixel % width, Math.floor(pixel / width), 1, 1);
  }

  colour([level, ...others]) {
    const { palette, levels } = this.image, grey = (level) => Math.round((255 * level) / (levels - 1));
    const parts = palette ? palette[level] : others.length ? [level, ...others].map(grey) : Array(3).fill(grey(level));
    return `rgb(${parts.join(" ")})`;
  }

  point(at, first) {
    const { channels, width, height } = this.image, { style } = find("frame");
    const pixel = Math.floor((at - first) / channels);
    find("frame").hidden = pixel < 0;
    style.left = `${(100 * (pixel % width)) / width}%`;
    style.top = `${(100 * Math.floor(pixel / width)) / height}%`;
    style.width = `${100 / width}%`;
    style.height = `${100 / height}%`;
  }

  at(event, first) {
    const { left, top, width, height } = this.place.getBoundingClientRect(), { image } = this;
    const column = Math.floor(((event.clientX - left) / width) * image.width);
    const row = Math.floor(((event.clientY - top) / height) * image.height);
    return first + (row * image.width + column) * image.channels;
  }

  row() {
    return this.image.width * this.image.channels;
  }

  label(token) {
    const swatch = element("span", "swatch");
    swatch.style.background = this.colour([token]);
    return [swatch, `level ${token}`];
  }
}

class Player {
  constructor(runtime, models) {
    Object.assign(this, { runtime, models, networks: new Map(), remaining: 0, cursor: 0 });
    find("model").replaceChildren(...models.map(({ name, folder }) => new Option(name, folder)));
    find("model").onchange = () => { location.hash = find("model").value; };
    window.onhashchange = () => this.choose();
    find("form").onsubmit = (event) => { event.preventDefault(); this.begin(); };
    find("pause").onclick = () => this.go(this.remaining ? 0 : Infinity);
    find("one").onclick = () => this.go(1);
    find("dice").onclick = () => { find("seed").value = Math.floor(Math.random() * SEEDS); this.begin(); };
    for (const knob of ["temperature", "top-k"]) find(knob).oninput = () => this.showKnobs();
    find("candidates").replaceChildren(...Array.from({ length: SHOWN }, () => this.candidate()));
    find("candidates").onpointerdown = () => this.go(0); // else another one comes below the finger
    find("output").onkeydown = (event) => this.press(event);
    find("output").onclick = (event) => this.walk(this.view?.at(event, this.run?.first));
    this.choose();
  }

  get knobs() {
    return { temperature: find("temperature").valueAsNumber, topK: find("top-k").valueAsNumber || 0 };
  }

  say(text) {
    find("message").textContent = text;
  }

  /** Opens the model that the address names, or the first one. */
  async choose() {
    const model = this.models.find(({ folder }) => `#${folder}` === location.hash) ?? this.models[0];
    const { folder } = model;
    find("model").value = folder;
    this.go(0);
    this.view?.clear();
    this.run = this.network = undefined;
    this.showAll();
    this.say(`Loading ${model.name}, ${(model.bytes / 1e6).toFixed(1)} MB …`);
    if (!this.networks.has(folder)) this.networks.set(folder, this.load(model));
    try {
      const { card, tokenizer, network } = await this.networks.get(folder);
      if (find("model").value !== folder) return;
      this.say("");
      this.take(card, tokenizer, network);
    } catch (fault) {
      this.networks.delete(folder);
      if (find("model").value === folder) this.say(fault.message);
    }
  }

  async load({ folder, tokenizer }) {
    const read = async (name) => {
      const answer = await fetch(`models/${encodeURIComponent(folder)}/${name}`);
      if (!answer.ok) throw new Error(`${name} of ${folder} cannot be read: ${answer.status} ${answer.statusText}`);
      return answer;
    };
    const card = await (await read("config.json")).json();
    const words = tokenizer ? new Tokenizer(await (await read("tokenizer.json")).json()) : null;
    const graph = new Uint8Array(await (await read("model.onnx")).arrayBuffer());
    return { card, tokenizer: words, network: await Network.open(this.runtime, graph) };
  }

  take(card, tokenizer, network) {
    Object.assign(this, { card, tokenizer, network });
    this.view = card.image ? new PictureView(card) : new TextView(card, tokenizer);
    find("text").hidden = Boolean(card.image);
    find("picture").hidden = !card.image;
    document.title = `${card.name}, token by token`;
    find("about").textContent = card.description ?? "";
    const { quality } = card, figure = quality && `${quality.value.toFixed(3)} ${quality.unit}`;
    find("facts").textContent = [card.architecture, figure, card.data].filter(Boolean).join(" · ");
    const phrases = card.image && tokenizer ? [...tokenizer.ids.keys()].sort() : [];
    find("phrases").replaceChildren(...phrases.map((phrase) => this.phrase(phrase)));
    find("known").hidden = !phrases.length;
    find("prompt").value = card.prompt_example ?? "";
    find("prompt").disabled = Boolean(card.image) && !phrases.length;
    find("temperature").value = card.temperature ?? 1;
    find("speed").value = card.image ? "Infinity" : "20";
    find("one").textContent = `One ${this.view.unit}`;
    this.showKnobs();
    this.begin();
  }

  /** What adds a phrase to the prompt. */
  phrase(text) {
    const button = Object.assign(element("button", "phrase", text), { type: "button" });
    button.onclick = () => { find("prompt").value = [find("prompt").value.trim(), text].filter(Boolean).join(", "); };
    return button;
  }

  /** A new run of the prompt and the seed. */
  begin() {
    if (!this.network) return;
    try {
      const seed = find("seed").value, { eos, image, name } = this.card, text = find("prompt").value;
      if (!/^\d+$/.test(seed)) throw new Error("A seed is a whole number, 0 or more.");
      const prompt = promptTokens(this.card, this.tokenizer, text);
      this.play(new Run(this.network, prompt, { seed: BigInt(seed), length: this.view.length(), eos }));
      const strange = image ? [] : this.tokenizer.encode(text).filter(({ id }) => id === this.tokenizer.unknown);
      const quoted = strange.map(({ piece }) => `“${piece}”`).join(", ");
      this.say(quoted && `${name} does not know ${quoted}.`);
    } catch (fault) {
      this.say(fault.message);
    }
  }

  play(run) {
    Object.assign(this, { run, shown: 1, cursor: 0 });
    this.view.clear();
    this.go(Infinity);
  }

  /** Makes so many more tokens. */
  async go(count) {
    this.remaining = count;
    this.showAll();
    if (this.isBusy) return;
    this.isBusy = true;
    try {
      while (this.remaining > 0 && this.run && !this.run.ended) await this.stepOn();
    } catch (fault) {
      this.say(fault.message);
    }
    this.isBusy = false;
    this.remaining = 0;
    this.showAll();
  }

  /** The steps until the next frame; what the prompt says comes at once. */
  async stepOn() {
    const { run } = this, pace = Number(find("speed").value), start = performance.now();
    const readsPrompt = () => run.steps.length < run.prompt.length;
    const isFast = () => readsPrompt() || (pace === Infinity && performance.now() < start + AT_ONCE);
    do {
      await run.next(this.knobs);
      if (run.steps.length > run.first) this.remaining -= 1;
    } while (isFast() && this.remaining > 0 && !run.ended);
    if (run !== this.run) return;
    this.cursor = run.steps.length - 1;
    this.showAll();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, 1000 / pace - (performance.now() - start))));
  }

  /** Puts the cursor on a token that is there. */
  walk(at) {
    if (!this.run || !Number.isFinite(at)) return;
    const least = this.card.image ? this.run.first : 1, last = this.run.steps.length - 1;
    if (last < least) return;
    this.cursor = Math.min(Math.max(at, least), last);
    this.go(0);
  }

  press(event) {
    const row = this.view?.row() ?? 0, moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -row, ArrowDown: row };
    const places = { Home: 0, End: this.run?.steps.length };
    if (event.key in moves) this.walk(this.cursor + moves[event.key]);
    else if (event.key in places) this.walk(places[event.key]);
    else if (event.key === " ") find("pause").click();
    else return;
    event.preventDefault();
  }

  showKnobs() {
    find("temperature-value").textContent = this.knobs.temperature.toFixed(2);
    this.showDistribution();
  }

  showAll() {
    const { run, view } = this, plays = this.remaining > 0 && Boolean(run) && !run.ended;
    find("pause").textContent = plays ? "Pause" : "Go on";
    find("pause").disabled = find("one").disabled = !run || run.ended;
    find("begin").disabled = !this.network;
    find("output").setAttribute("aria-busy", plays);
    find("place").setAttribute("aria-live", plays ? "off" : "polite");
    for (; run && this.shown < run.steps.length; this.shown++) view.add(run.steps, this.shown, run.first);
    if (run && this.cursor) view.point(this.cursor, run.first);
    this.showDistribution();
  }

  /** The distribution that the token at the cursor came from: the network's own, and what the knobs make of it. */
  showDistribution() {
    const { run, cursor, view } = this, step = run?.steps[cursor], first = this.card?.image ? run?.first : 1;
    const isThere = Boolean(step?.logits) && cursor >= first;
    const own = isThere ? shares(weights(step.logits, { temperature: 1, topK: 0 })) : [];
    const turned = isThere ? shares(weights(step.logits, this.knobs)) : [], tokens = likeliest(own, SHOWN);
    if (isThere && !tokens.includes(step.token)) tokens.splice(-1, 1, step.token);
    const place = () => (cursor < run.first ? `prompt ${view.unit} ${cursor}` : `${view.unit} ${cursor - run.first + 1}`);
    find("place").textContent = isThere ? `${place()} ${describe(step, own)}` : "Nothing is drawn yet.";
    Array.from(find("candidates").children).forEach((row, at) => {
      row.hidden = at >= tokens.length;
      if (!row.hidden) this.fill(row.firstChild, tokens[at], [turned[tokens[at]], own[tokens[at]]], step);
    });
  }

  /** A row of the distribution. */
  candidate() {
    const bars = element("span", "bars", element("span", "turned"), element("span", "own"));
    const spans = [element("span", "label"), bars, element("span", "number"), element("span", "number")];
    const button = Object.assign(element("button", "candidate", ...spans), { type: "button" });
    return element("li", "", button);
  }

  /** Shows a token with its two probabilities; pressed, it takes the place of the one at the cursor. */
  fill(button, token, parts, step) {
    const [label, bars, ...numbers] = button.children;
    label.replaceChildren(...this.view.label(token));
    parts.forEach((part, at) => {
      bars.children[at].style.width = `${100 * part}%`;
      numbers[at].textContent = percent(part);
    });
    button.setAttribute("aria-current", token === step.token);
    button.onclick = () => this.play(this.run.branch(this.cursor, token));
  }
}

/** How a token came to stand where it stands; how unlikely the network found it, and expected to find one. */
function describe({ token, uniform }, own) {
  const way = uniform === undefined ? "was given" : `was drawn by the random number ${uniform.toFixed(4)}`;
  const bits = own.map((part) => Math.abs(Math.log2(part))), expected = own.map((part, at) => part && part * bits[at]);
  return `${way}; surprise ${bits[token].toFixed(1)} bits, ${expected.reduce((a, b) => a + b).toFixed(1)} expected`;
}

/** Weights as probabilities. */
function shares(weights) {
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

async function open() {
  try {
    find("message").textContent = "Loading …";
    const runtime = await import("./runtime/ort.wasm.min.mjs");
    runtime.env.wasm.numThreads = 1; // more need headers that few hosts send
    new Player(runtime, await (await fetch("models.json")).json());
  } catch (fault) {
    find("message").textContent = `This page cannot start: ${fault.message}`;
  }
}

open();
