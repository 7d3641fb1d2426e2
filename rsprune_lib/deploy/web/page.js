"use strict";
// Everything that is shown comes from the facts below as text, never as HTML.
const facts = JSON.parse(document.getElementById("facts").textContent);
const [height, width] = facts.size;
const element = (id) => document.getElementById(id);
const stage = element("stage"), caption = element("caption"), verdict = element("verdict");
const ROUNDS = 8, BLOCK_MS = 12; // timed rounds, and how long a network's turn lasts: clocks of browsers are coarse
let latest = 0, busy = Promise.resolve();

function bytes(id) {
  const text = atob(element(id).textContent.trim());
  const found = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) found[i] = text.charCodeAt(i);
  return found;
}

async function unpacked(id) {
  if (typeof DecompressionStream === "undefined")
    throw new Error("This browser cannot unpack the page; take a newer one (Chrome 80, Firefox 113, Safari 16.4, or later).");
  const stream = new Blob([bytes(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function text(tag, words, name) {
  const made = document.createElement(tag);
  made.textContent = words;
  if (name) made.className = name;
  return made;
}

function fail(error) {
  verdict.classList.add("fault");
  verdict.textContent = error.message || String(error);
  console.error(error);
}

const share = (value) => (100 * value).toFixed(1) + " %";
const unit = (ms) => (ms < 9.95 ? ms.toFixed(2) : ms < 99.5 ? ms.toFixed(1) : ms.toFixed(0)) + " ms";

function makeCard(network) {
  const card = element("card").content.cloneNode(true).firstElementChild;
  card.querySelector("h3").textContent = network.title;
  card.querySelector(".what").textContent = network.what;
  const list = card.querySelector(".facts");
  const add = (name, words, kind) => { list.append(text("dt", name), text("dd", words, kind)); };
  add("time an image", "…", "time");
  for (const [name, words] of network.facts) add(name, words);
  element("cards").append(card);
  const bars = card.querySelector(".bars");
  for (let i = 0; i < Math.min(5, facts.classes.length); i++) {
    const row = document.createElement("li"), rail = text("span", "", "rail");
    rail.append(document.createElement("i"));
    row.append(text("span", "", "name"), text("span", "", "share"), rail);
    bars.append(row);
  }
  return card;
}

function show(card, found, truth) {
  const order = [...found.shares.keys()].sort((a, b) => found.shares[b] - found.shares[a]);
  card.querySelector(".class").textContent = facts.classes[order[0]];
  card.querySelector(".sure").textContent = share(found.shares[order[0]]) + (found.exit === null ? "" : `, left at exit ${found.exit}`);
  const right = card.querySelector(".right");
  right.textContent = truth === null ? "" : order[0] === truth ? "✓ right" : "✗ wrong: it is " + facts.classes[truth];
  right.className = "right " + (order[0] === truth ? "good" : "bad");
  [...card.querySelector(".bars").children].forEach((row, place) => {
    const k = order[place], name = row.querySelector(".name");
    name.textContent = name.title = facts.classes[k];
    row.querySelector(".share").textContent = share(found.shares[k]);
    row.querySelector("i").style.width = 100 * found.shares[k] + "%";
  });
}

function softmax(logits) {
  const top = Math.max(...logits), powers = Array.from(logits, (value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

// Red, green and blue planes in [0, 1] of what the canvas holds: (1, 3, H, W).
function tensor(ort) {
  const pixels = stage.getContext("2d").getImageData(0, 0, width, height).data, count = width * height;
  const planes = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) for (let c = 0; c < 3; c++) planes[c * count + i] = pixels[4 * i + c] / 255;
  return new ort.Tensor("float32", planes, [1, 3, height, width]);
}

// The whole image at the networks' size, as the training did it; halved step by step, so that no pixel is left out.
function draw(image) {
  let [w, h] = [image.width, image.height], source = image;
  while (w >= 2 * width && h >= 2 * height) {
    [w, h] = [Math.max(width, w >> 1), Math.max(height, h >> 1)];
    const half = Object.assign(document.createElement("canvas"), { width: w, height: h });
    half.getContext("2d").drawImage(source, 0, 0, w, h);
    source = half;
  }
  [stage.width, stage.height] = [width, height];
  const pen = stage.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "black";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, 0, 0, width, height);
}

async function answer(network, feed) {
  const out = await network.session.run(feed), logits = out.logits.data;
  const left = out.exit ? Number(out.exit.data[0]) + 1 : null;
  return { shares: softmax(logits), exit: left };
}

function quartiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q) => { const x = q * (sorted.length - 1), i = Math.floor(x); return sorted[i] + (x - i) * ((sorted[i + 1] ?? sorted[i]) - sorted[i]); };
  return [at(0.25), at(0.5), at(0.75)];
}

// In each round every network has its turn, so what slows this device down slows all of them.
async function time(networks, feed, mine) {
  for (const network of networks) network.rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    for (const network of networks) {
      await network.session.run(feed);
      const start = performance.now();
      let count = 0, spent = 0;
      while (spent < BLOCK_MS) { await network.session.run(feed); count++; spent = performance.now() - start; }
      network.rounds.push(spent / count);
      await new Promise((go) => setTimeout(go));
      if (mine !== latest) return false;
    }
  }
  return true;
}

function tell(networks) {
  const times = networks.map((network) => quartiles(network.rounds));
  networks.forEach((network, i) => { network.card.querySelector(".time").textContent = `${unit(times[i][1])} ± ${((times[i][2] - times[i][0]) / 2).toPrecision(2)}`; });
  verdict.classList.remove("fault");
  if (networks.length < 2) { verdict.textContent = `Measured here: ${unit(times[0][1])} an image.`; return; }
  const [low, factor, high] = quartiles(networks[1].rounds.map((other, i) => other / networks[0].rounds[i]));
  const clear = Math.log(high / low) < Math.abs(Math.log(factor));
  const [one, other] = networks.map((network) => network.title);
  if (low >= 0.9 && high <= 1.1) verdict.textContent = "Measured here: both take about the same time.";
  else if (!clear) verdict.textContent = "Measured here: the times vary more than they differ, so no network is called the faster one.";
  else if (factor > 1) verdict.textContent = `Measured here: “${one}” is ${factor.toFixed(1)} times as fast as “${other}”.`;
  else verdict.textContent = `Measured here: “${one}” is slower than “${other}”, by a factor of ${(1 / factor).toFixed(1)}.`;
}

async function look(image, words, truth, state) {
  const mine = ++latest;
  draw(image);
  caption.textContent = words;
  busy = busy.then(async () => {
    if (mine !== latest) return;
    const feed = { image: tensor(state.ort) };
    for (const network of state.networks) show(network.card, await answer(network, feed), truth);
    document.body.dataset.shown = words;
    if (await time(state.networks, feed, mine)) { tell(state.networks); document.body.dataset.timed = words; }
  }).catch(fail);
  return busy;
}

async function openFile(file, state) {
  if (!file) return;
  for (const button of element("samples").children) button.setAttribute("aria-pressed", "false");
  try {
    const image = await createImageBitmap(file);
    await look(image, `${file.name || "pasted image"}, ${image.width} × ${image.height} pixels, shown as the networks see it`, null, state);
  } catch (error) {
    latest++;  // else the times of the image before would take this sentence's place
    fail(new Error(`“${file.name || "What was pasted"}” is no image that this browser can show; take a PNG, JPEG or WebP file.`));
  }
}

function addSamples(state) {
  facts.samples.forEach((sample, i) => {
    const button = document.createElement("button"), picture = document.createElement("img");
    const name = facts.classes[sample.label];
    picture.src = "data:image/png;base64," + sample.png;
    picture.alt = `image ${i + 1}: ${name}`;
    button.type = "button";
    button.disabled = true; // until the networks are there
    button.title = name;
    button.setAttribute("aria-pressed", "false");
    button.append(picture);
    button.addEventListener("click", async () => {
      for (const other of element("samples").children) other.setAttribute("aria-pressed", String(other === button));
      await picture.decode();
      look(picture, `image ${i + 1} of ${facts.samples.length}: ${name}`, sample.label, state);
    });
    element("samples").append(button);
  });
}

function listen(state) {
  element("file").addEventListener("change", (event) => openFile(event.target.files[0], state));
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => { event.preventDefault(); document.body.classList.toggle("dragging", kind === "dragover"); });
  document.addEventListener("drop", (event) => openFile(event.dataTransfer.files[0], state));
  document.addEventListener("paste", (event) => { if (event.clipboardData.files[0]) openFile(event.clipboardData.files[0], state); });
}

async function start() {
  const state = { ort: null, networks: facts.networks.map((network) => ({ ...network, card: makeCard(network) })) };
  addSamples(state);
  const source = URL.createObjectURL(new Blob([await unpacked("runtime-js")], { type: "text/javascript" }));
  const ort = (state.ort = await import(source));
  URL.revokeObjectURL(source);
  Object.assign(ort.env.wasm, { wasmBinary: (await unpacked("runtime-wasm")).buffer, numThreads: 1, proxy: false });
  ort.env.logLevel = "error";
  for (const network of state.networks)
    network.session = await ort.InferenceSession.create(await unpacked(network.id), { executionProviders: ["wasm"] });
  listen(state);
  for (const button of element("samples").children) button.disabled = false;
  document.body.dataset.ready = "yes";
  element("samples").children[0]?.click();
}

start().catch(fail);
