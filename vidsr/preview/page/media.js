// From one answer of the server to pictures in time: fragmented MP4 through Media Source Extensions, or JPEGs.
// Between the fragments lie boxes of type uuid, and in the heads of the parts lines, with what the server tells.

const TOLD = "7669647372207072657669657720746c";
const START_S = 0.06; // ahead of the clock before playing begins
const FAR_S = 0.5, LONG_S = 0.11, SHORT_S = 0.03; // ahead by so much: jump, play a little faster, slower
const KEPT_S = 10;

async function answer(url, signal) {
  for (let tries = 0; ; tries++) {
    const got = await fetch(url, { signal, cache: "no-store" });
    if (got.ok) return got.body.getReader();
    const text = await got.text();
    let said;
    try { said = JSON.parse(text).error; } catch { said = text; }
    // The play before this one may still be ending.
    if (got.status !== 409 || tries === 4) throw new Error(said);
    await new Promise((done) => setTimeout(done, 250));
  }
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}

class Player {
  // `told` gets the server's words, `pictured` (stream's time, image), `failed` a text.
  constructor(told, pictured, failed) {
    Object.assign(this, { told, pictured, failed, run: null, times: new Map() });
  }

  async open(url, still) {
    this.close();
    const run = (this.run = { abort: new AbortController(), still, rest: new Uint8Array(0), ended: false });
    this.times.clear();
    try {
      this.begin(run);
      const reader = await answer(url, run.abort.signal);
      for (;;) {
        const { done, value } = await reader.read();
        if (run !== this.run) return;
        if (done) break;
        run.rest = run.rest.length ? joined([run.rest, value]) : value;
        this.parse(run);
      }
      this.finish(run);
    } catch (error) {
      if (run === this.run && error.name !== "AbortError") this.failed(error.message || String(error));
    }
  }

  close() {
    if (this.run) this.run.abort.abort();
    this.run = null;
  }

  say(run, words) {
    if (words.began !== undefined) this.times.set(Math.round(words.t * 1000), words);
    if (words.k === "end" || words.k === "error") run.ended = true;
    this.told(words);
  }

  // What the server said of the frame that is shown at a time; earlier ones are forgotten.
  about(time) {
    const key = Math.round(time * 1000);
    const found = this.times.get(key) || this.times.get(key - 1) || this.times.get(key + 1);
    for (const old of this.times.keys()) if (old < key - 1) this.times.delete(old); else break;
    return found;
  }
}

export class Mp4Player extends Player {
  constructor(video, ...rest) {
    super(...rest);
    this.video = video;
    setInterval(() => this.keep(), 50);
    const frame = (_, about) => {
      video.requestVideoFrameCallback(frame);
      if (this.run) this.pictured(about.mediaTime, video);
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(frame);
    else this.poll();
  }

  poll() {
    let last = -1;
    const look = () => {
      if (this.run && this.video.readyState > 1 && this.video.currentTime !== last) {
        last = this.video.currentTime;
        this.pictured(last, this.video);
      }
      requestAnimationFrame(look);
    };
    look();
  }

  begin(run) {
    run.queue = [];
    run.source = new MediaSource();
    run.url = URL.createObjectURL(run.source);
    run.source.addEventListener("sourceopen", () => this.pump(run), { once: true });
    this.video.src = run.url;
  }

  close() {
    const run = this.run;
    super.close();
    if (!run) return;
    this.video.pause();
    URL.revokeObjectURL(run.url);
  }

  parse(run) {
    let at = 0;
    const bytes = run.rest, view = new DataView(bytes.buffer, bytes.byteOffset);
    while (at + 8 <= bytes.length) {
      const size = view.getUint32(at);
      if (at + size > bytes.length) break;
      const box = bytes.subarray(at, at + size);
      const kind = String.fromCharCode(...box.subarray(4, 8));
      if (kind === "uuid" && [...box.subarray(8, 24)].map((b) => b.toString(16).padStart(2, "0")).join("") === TOLD) {
        const words = JSON.parse(new TextDecoder().decode(box.subarray(24)));
        if (words.codecs) run.codecs = words.codecs;
        this.say(run, words);
      } else run.queue.push(box);
      at += size;
    }
    run.rest = bytes.slice(at);
    this.pump(run);
  }

  finish(run) { run.ended = true; this.pump(run); }

  pump(run) {
    if (run !== this.run || run.source.readyState !== "open") return;
    if (!run.buffer) {
      if (!run.codecs) return;
      const kind = `video/mp4; codecs="${run.codecs}"`;
      if (!MediaSource.isTypeSupported(kind)) return this.failed(`this browser does not play ${run.codecs}`);
      run.buffer = run.source.addSourceBuffer(kind);
      run.buffer.addEventListener("updateend", () => this.pump(run));
    }
    if (run.buffer.updating) return;
    if (run.queue.length) {
      run.buffer.appendBuffer(joined(run.queue));
      run.queue = [];
    } else if (run.ended) run.source.endOfStream();
    else if (this.video.currentTime > 2 * KEPT_S && run.buffer.buffered.length
             && run.buffer.buffered.start(0) < this.video.currentTime - 2 * KEPT_S) {
      run.buffer.remove(0, this.video.currentTime - KEPT_S);
    }
    this.keep();
  }

  // Keep close to the newest picture, without being out of pictures.
  keep() {
    const run = this.run, video = this.video;
    if (!run || run.still || !video.buffered.length) return;
    const end = video.buffered.end(video.buffered.length - 1), ahead = end - video.currentTime;
    if (!run.playing) {
      if (ahead >= START_S || run.ended) { run.playing = true; this.play(); }
      return;
    }
    if (!run.settled && video.currentTime > 0) {
      run.settled = true; // what came while playing began would be late for ever
      if (ahead > 2 * START_S && !run.ended) video.currentTime = end - START_S;
      return;
    }
    for (let k = 0; k < video.buffered.length; k++) {
      const start = video.buffered.start(k);
      if (video.readyState < 3 && start > video.currentTime && start - video.currentTime < 30) {
        video.currentTime = start; // over a hole
        return;
      }
    }
    if (run.ended) video.playbackRate = 1;
    else if (ahead > FAR_S) video.currentTime = end - 0.08;
    else video.playbackRate = ahead > 2 * LONG_S ? 1.15 : ahead > LONG_S ? 1.05 : ahead < SHORT_S ? 0.97 : 1;
  }

  async play() {
    this.video.preservesPitch = false;
    try { await this.video.play(); } catch (error) {
      if (error.name !== "NotAllowedError") return;
      this.video.muted = true; // a browser that has not been clicked plays no sound
      this.video.dispatchEvent(new Event("volumechange"));
      await this.video.play().catch(() => {});
    }
  }
}

export class JpegPlayer extends Player {
  begin(run) { run.parts = Promise.resolve(); }

  parse(run) {
    for (;;) {
      const head = this.head(run.rest);
      if (!head || run.rest.length < head.end + head.length + 2) return;
      const data = run.rest.slice(head.end, head.end + head.length);
      run.rest = run.rest.slice(head.end + head.length + 2);
      this.say(run, head.words);
      if (!head.length) continue;
      run.parts = run.parts.then(async () => {
        const image = await createImageBitmap(new Blob([data], { type: "image/jpeg" }));
        if (run === this.run) this.pictured(head.words.t, image);
      });
    }
  }

  head(bytes) {
    for (let k = 0; k + 3 < Math.min(bytes.length, 4096); k++) {
      if (bytes[k] !== 13 || bytes[k + 1] !== 10 || bytes[k + 2] !== 13 || bytes[k + 3] !== 10) continue;
      const text = new TextDecoder().decode(bytes.subarray(0, k));
      const line = (name) => text.match(new RegExp(`^${name}: (.*)$`, "m"))[1].trim();
      return { end: k + 4, length: Number(line("Content-Length")), words: JSON.parse(line("X-Told")) };
    }
    return null;
  }

  finish(run) { run.ended = true; }
}
