// The export: asks, starts `vidsr upscale` on the server with what is seen, and shows how far it is.

const $ = (id) => document.getElementById(id);

export function exporting(state, note) {
  let overwrite = false;
  const call = async (method, body) => {
    const got = await fetch("export", { method, body: body && JSON.stringify(body) });
    const said = await got.json();
    if (!got.ok) throw new Error(said.error);
    return said;
  };

  const show = (how) => {
    const running = how.state === "running";
    $("exporting").hidden = how.state === "none" || how.state === "exists";
    $("progress").hidden = $("cancel").hidden = !running;
    if (running && how.total) Object.assign($("progress"), { max: how.total, value: how.frames });
    const texts = {
      running: `exporting ${how.output}: ${how.frames}${how.total ? ` of ${how.total}` : ""} frames`,
      done: `wrote ${how.output}`, cancelled: "export cancelled; exporting again goes on there", failed: how.text,
    };
    $("exported").textContent = texts[how.state] || "";
    if (running) setTimeout(() => call("GET").then(show, (error) => note(error.message)), 500);
  };

  const ask = (text, again) => {
    overwrite = again;
    $("question").textContent = text;
    $("yes").textContent = again ? "replace" : "export";
    $("range").hidden = state.loop[0] === null && state.loop[1] === null;
    if (!$("ask").open) $("ask").showModal();
  };

  $("export").onclick = () => {
    $("export").blur();
    ask(`Write ${state.info.name} with ${state.words.model || state.model} at ${state.scale}× beside it?`, false);
  };
  $("no").onclick = () => $("ask").close();
  $("yes").onclick = async () => {
    $("ask").close();
    const part = $("only").checked && !$("range").hidden ? { start: state.loop[0], end: state.loop[1] } : {};
    // What is seen: after a step down that is the smaller model.
    const model = state.model.endsWith(".onnx") ? state.model : state.words.model || state.model;
    try {
      const how = await call("POST", { model, scale: state.scale, overwrite, ...part });
      if (how.state === "exists") ask(`${how.output} is there already. Replace it?`, true);
      else show(how);
    } catch (error) { note(error.message); }
  };
  $("cancel").onclick = () => call("DELETE").then(show, (error) => note(error.message));
  call("GET").then(show, () => {});
}
