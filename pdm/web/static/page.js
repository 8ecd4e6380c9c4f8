// The pages without this script can be read; with it they are live, and people can act.
import { follow } from "./live.js";
import { listen } from "./actions.js";
import { draw } from "./fan.js";

follow();
listen();
draw();
document.body.addEventListener("htmx:after:swap", draw);
