// The picture on the canvas: of one image the upper part is the upscaled frame and the lower part its source.
// Left of the divider the source is drawn, enlarged by the browser, right of it the upscaled frame.

const PIXELS = 4; // screen pixels a pixel from which on pixels are shown as they are

export class View {
  constructor(canvas, stage) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.cut = 0.5;
    this.zoom = 0; // screen pixels a pixel of the result; 0: as large as fits
    this.pan = [0, 0]; // of the picture's middle, in screen pixels
    this.image = null;
    new ResizeObserver(() => this.draw()).observe(stage);
  }

  // What an image holds: sizes of stack and target, the row where the source begins, and how it is turned.
  lay({ stack, below, target, size, turn, aspect }) {
    Object.assign(this, { stack, below, target, size, turn, aspect });
  }

  show(image) { this.image = image; this.draw(); }

  get bounds() {
    const [w, h] = [this.target[0] * this.aspect, this.target[1]], [a, b, c, d] = this.turn;
    return [Math.abs(a) * w + Math.abs(c) * h, Math.abs(b) * w + Math.abs(d) * h];
  }

  get scale() {
    if (this.zoom) return this.zoom;
    const [w, h] = this.bounds;
    return Math.min(this.canvas.width / w, this.canvas.height / h);
  }

  // `exact`: even if it is smaller than what fits.
  zoomTo(zoom, x, y, exact = false) {
    const ratio = devicePixelRatio, before = this.scale;
    const fit = Math.min(this.canvas.width / this.bounds[0], this.canvas.height / this.bounds[1]);
    if (zoom <= fit) { this.zoom = exact ? zoom : 0; this.pan = [0, 0]; return this.draw(); }
    this.zoom = Math.min(zoom, 32);
    const px = x * ratio - this.canvas.width / 2, py = y * ratio - this.canvas.height / 2;
    const grown = this.zoom / before;
    this.pan = [px - (px - this.pan[0]) * grown, py - (py - this.pan[1]) * grown];
    this.draw();
  }

  move(dx, dy) {
    if (!this.zoom) return;
    this.pan = [this.pan[0] + dx * devicePixelRatio, this.pan[1] + dy * devicePixelRatio];
    this.draw();
  }

  draw() {
    const { canvas, context, image } = this;
    const wide = Math.round(canvas.clientWidth * devicePixelRatio);
    const high = Math.round(canvas.clientHeight * devicePixelRatio);
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    context.setTransform(1, 0, 0, 1, 0, 0);
    const scale = this.stack ? this.scale : 1;
    const [bw, bh] = this.stack ? this.bounds : [0, 0];
    if (!image || this.zoom || bw * scale < wide - 1 || bh * scale < high - 1) {
      context.fillStyle = "#0b0d10";
      context.fillRect(0, 0, wide, high);
    }
    if (!image || !this.stack) return;
    const edge = Math.round(this.cut * wide), [w, h] = this.target;
    context.imageSmoothingEnabled = scale < PIXELS;
    const part = (from, to, x, y, pw, ph) => {
      if (to <= from) return;
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, high);
      context.clip();
      const [a, b, c, d] = this.turn;
      context.translate(wide / 2 + this.pan[0], high / 2 + this.pan[1]);
      context.transform(a, b, c, d, 0, 0);
      context.scale(scale * this.aspect, scale);
      context.drawImage(image, x, y, pw, ph, -w / 2, -h / 2, w, h);
      context.restore();
    };
    part(0, edge, 0, this.below, this.size[0], this.size[1]);
    part(edge, wide, 0, 0, w, h);
  }
}
