"use strict";
// Charts have the pixels that paper needs, whatever the screen has.
const ratio = Object.getOwnPropertyDescriptor(window, "devicePixelRatio").get;
Object.defineProperty(window, "devicePixelRatio", { get: () => Math.max(2, ratio.call(window)) });
