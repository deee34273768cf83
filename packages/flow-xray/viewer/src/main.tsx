import "./style.css";
import { render } from "preact";

render(<p>flow-xray</p>, document.getElementById("app")!);
