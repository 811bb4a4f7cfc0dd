"""See a clip upscaled in a browser, live. Start with `server.serve`; `still.write_still` needs no server."""
