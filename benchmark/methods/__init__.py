"""Methods that fill holes in video, all behind one call: `inpaint(frames, masks, prompts) -> frames`."""
