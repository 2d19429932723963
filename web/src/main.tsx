import { render, type JSX } from "preact";
import { Model } from "./model.ts";
import { Empty, useModel } from "./ui/base.tsx";
import { Incoming, Stage } from "./ui/call.tsx";
import { Side } from "./ui/people.tsx";
import { Settings } from "./ui/settings.tsx";
import { SignIn } from "./ui/sign-in.tsx";
import { Talk } from "./ui/talk.tsx";
import { words } from "./words.ts";

function App({ model }: { model: Model }): JSX.Element {
  useModel(model);
  if (model.place === "loading") {
    return <main class="door" aria-busy="true"><p class="unseen">{words.working}</p></main>;
  }
  if (model.place !== "phone") {
    return <SignIn model={model} />;
  }
  const call = model.call;
  const stage = call && call.state !== "incoming" ? call : null;
  const deep = stage !== null || model.selected !== "" || model.part === "settings";
  return (
    <main class={`frame ${deep ? "deep" : ""} ${stage ? "in-call" : ""}`}>
      <Side model={model} inCall={stage !== null} />
      <div class="main">
        {stage ? <Stage key={stage.id} model={model} call={stage} />
          : model.selected ? <Talk key={model.selected} model={model} />
          : model.part === "settings" ? <Settings model={model} />
          : <Empty icon="phone" title={words.pickSomebody}>{words.pickSomebodyHint}</Empty>}
      </div>
      <Incoming model={model} />
    </main>
  );
}

const model = new Model();
render(<App model={model} />, document.getElementById("app")!);
void model.start();
