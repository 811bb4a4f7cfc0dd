// The page: controls, keys, numbers. `media.js` brings pictures, `view.js` draws them.

import { JpegPlayer, Mp4Player } from "./media.js";
import { View } from "./view.js";
import { exporting } from "./export.js";

const $ = (id) => document.getElementById(id);
const video = document.createElement("video");
video.playsInline = true;
const view = new View($("canvas"), $("stage"));
const state = { playing: false, position: 0, base: 0, model: "", scale: "", loop: [null, null], info: null,
  drawn: 0, opened: 0, serverDropped: 0, latencies: [], stamps: [], words: {}, first: null, log: [], video, view };
window.vidsr = state; // for whoever wants to look

const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(2).padStart(5, "0")}`;
const ratio = (text) => { const [a, b = 1] = text.split("/"); return a / b; };
const note = (text, seconds = 8) => {
  $("note").textContent = text;
  $("note").hidden = !text;
  clearTimeout(note.timer);
  if (text && seconds) note.timer = setTimeout(() => note(""), seconds * 1000);
};

function told(words) {
  state.log.push(words);
  if (state.log.length > 500) state.log.shift();
  if (words.k === "begin") {
    state.base = words.at;
    state.words = words;
    view.lay({ ...words, ...state.info });
    using(words);
  } else if (words.k === "step") {
    using(words);
    note(`${words.why}: stepped down from ${words.from} to ${words.model}`, 15);
  } else if (words.k === "slow") {
    note(words.text || `${words.model} is too slow here, and there is no smaller one: frames are dropped`, 15);
  } else if (words.k === "error") failed(words.text);
  if (words.dropped !== undefined) state.serverDropped = words.dropped;
  if (words.k === "end" && state.playing && player instanceof JpegPlayer) ended();
}

function using(words) {
  state.words = { ...state.words, ...words };
  const { model, backend, encoder, target } = state.words;
  $("using").textContent = `${model} on ${backend}, ${target.join("×")}, ${encoder}`;
}

function pictured(time, image) {
  view.show(image);
  const now = performance.timeOrigin + performance.now();
  state.drawn++;
  state.first ??= performance.now();
  state.position = state.base + time;
  state.shownAt = time;
  state.stamps.push(performance.now());
  if (state.stamps.length > 60) state.stamps.shift();
  const about = player.about(time);
  if (about) state.latencies.push(now - about.began);
  if (state.latencies.length > 2000) state.latencies.shift();
  if (state.loop[1] !== null && state.playing && state.position >= state.loop[1]) go(state.loop[0] ?? 0);
}

function failed(text) {
  state.playing = false;
  $("play").textContent = "▶";
  note(text, 0);
}

const makers = [told, pictured, failed];
const player = window.MediaSource && MediaSource.isTypeSupported('video/mp4; codecs="avc1.42c028"')
  ? new Mp4Player(video, ...makers) : new JpegPlayer(...makers);
const form = player instanceof JpegPlayer ? "mjpeg" : "mp4";

// Play from a second on, or show the one frame there.
function go(at, { still = !state.playing, back = false } = {}) {
  const last = Math.max(0, state.info.duration - 1 / state.info.rate);
  const place = Math.min(Math.max(0, at), last);
  state.position = place;
  state.opened = performance.now();
  const asked = new URLSearchParams({ at: place.toFixed(6), model: state.model, scale: state.scale, form });
  if (still) asked.set("count", "1");
  if (back) asked.set("back", "1");
  state.stamps = [];
  state.shownAt = null;
  player.open(`stream?${asked}`, still);
  paint();
}

function play(on = !state.playing) {
  const atEnd = state.position >= state.info.duration - 1.5 / state.info.rate;
  if (on && state.info.still) return;
  state.playing = on;
  $("play").textContent = on ? "❚❚" : "▶";
  go(on && atEnd ? state.loop[0] ?? 0 : state.position);
}

function step(back) {
  if (state.playing) { state.playing = false; $("play").textContent = "▶"; }
  go(back ? state.position : state.position + 0.001, { still: true, back });
}

function ended() {
  if (!state.playing) return;
  if (state.loop[0] !== null || state.loop[1] !== null) return go(state.loop[0] ?? 0);
  state.playing = false;
  $("play").textContent = "▶";
}
video.addEventListener("ended", ended);

function loop(which) {
  if (which === null) state.loop = [null, null];
  else state.loop[which] = state.position;
  const [a, b] = state.loop;
  if (a !== null && b !== null && b <= a) state.loop = which ? [null, b] : [a, null];
  paint();
}

function paint() {
  const whole = state.info.duration || 1, done = (100 * state.position) / whole, [a, b] = state.loop;
  $("done").style.width = `${done}%`;
  $("knob").style.left = `${done}%`;
  $("bar").setAttribute("aria-valuenow", state.position.toFixed(2));
  $("loop").style.left = `${(100 * (a ?? 0)) / whole}%`;
  $("loop").style.width = a === null && b === null ? "0" : `${(100 * ((b ?? whole) - (a ?? 0))) / whole}%`;
  $("time").textContent = `${clock(state.position)} / ${clock(state.info.duration)}`;
}

function figures() {
  paint();
  const spans = state.stamps, span = spans.length > 1 ? spans[spans.length - 1] - spans[0] : 0;
  $("fps").textContent = state.playing && span ? ((1000 * (spans.length - 1)) / span).toFixed(1) : "–";
  const late = state.latencies.slice(-60).sort((a, b) => a - b), middle = late[late.length >> 1];
  const known = state.playing && middle >= 0 && middle < 60000; // another machine's clock may be off
  $("latency").textContent = known ? middle.toFixed(0) : "–";
  const browser = video.getVideoPlaybackQuality ? video.getVideoPlaybackQuality().droppedVideoFrames : 0;
  $("dropped").textContent = state.serverDropped + browser;
}

function models() {
  const scale = ratio(state.scale), all = state.info.models;
  const best = all.map((m) => m.scale).sort((a, b) => Math.abs(Math.log(a / scale)) - Math.abs(Math.log(b / scale)) || b - a)[0];
  const names = [...new Set([state.info.auto, state.info.model])], fitting = all.filter((m) => m.scale === best);
  const choices = [...names.map((id) => ({ id })), ...fitting.filter((m) => !names.includes(m.id))];
  $("model").replaceChildren(...choices.map((m) => {
    const text = m.about ? `${m.id} (${m.kmac} kMAC/px)` : m.id;
    return Object.assign(new Option(text, m.id), { title: m.about || "" });
  }));
  const same = choices.find((m) => m.id === state.model)
    || choices.find((m) => m.id.split("-").slice(1).join("-") === state.model.split("-").slice(1).join("-"));
  state.model = (same || choices[0]).id;
  $("model").value = state.model;
}

function divider(cut) {
  view.cut = Math.min(1, Math.max(0, cut));
  $("divider").style.left = `${100 * view.cut}%`;
  $("divider").setAttribute("aria-valuenow", Math.round(100 * view.cut));
  view.draw();
}

function dragged(element, moved, ended = () => {}) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);
    let [x, y] = [event.clientX, event.clientY];
    const move = (e) => { moved(e, e.clientX - x, e.clientY - y); [x, y] = [e.clientX, e.clientY]; };
    move(event);
    element.addEventListener("pointermove", move);
    const end = () => { element.removeEventListener("pointermove", move); ended(); };
    element.addEventListener("pointerup", end, { once: true });
    element.addEventListener("pointercancel", end, { once: true });
    event.stopPropagation();
  });
}

const inside = (element, event) => {
  const box = element.getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
};
const full = () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
const mute = () => { video.muted = !video.muted; };
const keys = {
  " ": () => play(), k: () => play(), ",": () => step(true), ".": () => step(false),
  ArrowLeft: (e) => go(state.position - (e.shiftKey ? 1 : 5)), ArrowRight: (e) => go(state.position + (e.shiftKey ? 1 : 5)),
  Home: () => go(0), End: () => go(state.info.duration), "[": () => loop(0), "]": () => loop(1), "\\": () => loop(null),
  f: full, m: mute, 1: () => view.zoomTo(1, view.canvas.clientWidth / 2, view.canvas.clientHeight / 2, true),
  0: () => view.zoomTo(0), "?": () => { $("help").hidden = !$("help").hidden; },
};

function wire() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("ask").open || event.target.tagName === "SELECT") return;
    if (event.target.id === "divider" && event.key.startsWith("Arrow")) {
      divider(view.cut + (event.key === "ArrowLeft" || event.key === "ArrowDown" ? -0.02 : 0.02));
    } else if (keys[event.key]) keys[event.key](event);
    else return;
    event.preventDefault();
  });
  const clicks = { play: " ", back: ",", on: ".", mute: "m", one: "1", all: "0", full: "f", keys: "?" };
  for (const [id, key] of Object.entries(clicks)) $(id).onclick = (event) => { keys[key](event); $(id).blur(); };
  dragged($("divider"), (event) => divider(inside($("stage"), event)));
  dragged($("stage"), (_, dx, dy) => { $("stage").classList.add("moving"); view.move(dx, dy); },
    () => $("stage").classList.remove("moving"));
  $("stage").addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoomTo(view.scale * 1.2 ** -Math.sign(event.deltaY), event.offsetX, event.offsetY);
  }, { passive: false });
  dragged($("bar"), (event) => { state.position = inside($("bar"), event) * state.info.duration; paint(); }, () => go(state.position));
  $("model").onchange = () => { state.model = $("model").value; $("model").blur(); go(state.position); };
  $("scale").onchange = () => { state.scale = $("scale").value; models(); $("scale").blur(); go(state.position); };
  video.addEventListener("volumechange", () => $("mute").classList.toggle("off", video.muted));
  window.addEventListener("pagehide", () => player.close());
  setInterval(figures, 250);
}

const info = await (await fetch("info")).json();
Object.assign(state, { info, model: info.model, scale: info.scale });
document.title = `${info.name} – vidsr preview`;
$("name").textContent = $("name").title = info.name;
$("mute").hidden = !info.sound || form === "mjpeg";
$("scale").replaceChildren(...info.scales.map((s) => new Option(`${+ratio(s).toFixed(3)}×`, s)));
$("scale").value = state.scale;
models();
wire();
divider(0.5);
exporting(state, note);
if (form === "mjpeg") note("this browser has no Media Source Extensions: pictures without sound");
play(!info.still);
