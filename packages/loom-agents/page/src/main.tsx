// The page of a served product: the runs, and the one that is looked at. Data comes from the server's own requests only.
import { render } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type Approval, type Me, Refused, type Row, ask, follow, send, signIn } from "./api";
import { Request } from "./approval";
import { tone, visible } from "./format";
import { Composer, RunView } from "./run";
import "./style.css";

const NEW = "";

function hashed(name: string): string | null {
  return new URLSearchParams(location.hash.slice(1)).get(name);
}

function App() {
  const [me, setMe] = useState<Me | null>(null);
  const [problem, setProblem] = useState("");
  const enter = useCallback(async (token: string | null) => {
    try {
      if (token) await signIn(token);
      setMe(await ask<Me>("/v1/session"));
      setProblem("");
    } catch (error) {
      setProblem((error as Refused).status === 401 && !token ? "This server asks for a token." : (error as Refused).message);
    }
  }, []);
  useEffect(() => {
    const token = hashed("token");
    // Out of the address at once: it must not stay in the history or in a copied link.
    if (token) history.replaceState(null, "", location.pathname);
    void enter(token);
  }, [enter]);
  if (me) return <Desk me={me} />;
  return problem ? <SignIn problem={problem} onToken={enter} /> : null;
}

function SignIn({ problem, onToken }: { problem: string; onToken: (token: string) => void }) {
  const [token, setToken] = useState("");
  return (
    <form
      class="sign-in"
      onSubmit={(e) => {
        e.preventDefault();
        onToken(token);
      }}
    >
      <h1>{document.body.dataset.product}</h1>
      <p role="alert">{problem}</p>
      <input type="password" aria-label="token" placeholder="Token" value={token} onInput={(e) => setToken(e.currentTarget.value)} />
      <button class="yes">Enter</button>
    </form>
  );
}

function Desk({ me }: { me: Me }) {
  const [runs, setRuns] = useState<Row[]>([]);
  const [asked, setAsked] = useState<Approval[]>([]);
  const [chosen, setChosen] = useState<string | null>(hashed("run"));
  const [nudges, setNudges] = useState<{ [run: string]: number }>({});
  const [isOpen, setOpen] = useState(true);
  const [problem, setProblem] = useState("");
  const later = useRef<number | undefined>(undefined);
  const mayDecide = me.scopes.includes("approve") || me.scopes.includes("admin");
  const mayRun = me.scopes.includes("run") || me.scopes.includes("admin");

  const load = useCallback(async () => {
    const [list, approvals] = await Promise.all([
      ask<{ seq: number; runs: Row[] }>("/v1/runs"),
      ask<{ approvals: Approval[] }>("/v1/approvals"),
    ]);
    setRuns(list.runs);
    setAsked(approvals.approvals);
    return list.seq;
  }, []);

  const soon = useCallback(() => {
    if (later.current !== undefined) return;
    later.current = window.setTimeout(() => {
      later.current = undefined;
      load().catch((error: Refused) => setProblem(error.message));
    }, 80);
  }, [load]);

  useEffect(() => {
    let stop = () => {};
    let isGone = false;
    load().then(
      (seq) => {
        if (isGone) return;
        stop = follow("/v1/events", seq, {
          event: (event) => {
            setNudges((before) => ({ ...before, [event.run_id]: event.seq }));
            soon();
          },
          resync: soon,
          line: (open) => {
            setOpen(open);
            if (open) soon();
          },
        });
      },
      (error: Refused) => setProblem(error.message),
    );
    const moved = () => setChosen(hashed("run"));
    window.addEventListener("hashchange", moved);
    return () => {
      isGone = true;
      stop();
      window.removeEventListener("hashchange", moved);
    };
  }, [load, soon]);

  const choose = (runId: string) => {
    location.hash = runId === NEW ? "" : new URLSearchParams({ run: runId }).toString();
    setChosen(runId === NEW ? null : runId);
  };

  async function begin(message: string): Promise<boolean> {
    setProblem("");
    try {
      const { run_id } = await send<{ run_id: string }>("/v1/runs", { message });
      choose(run_id);
      soon();
      return true;
    } catch (error) {
      setProblem((error as Refused).message);
      return false;
    }
  }

  const waiting = (runId: string) => asked.filter((request) => request.run_id === runId).length;
  const below = (runId: string) => asked.filter((request) => request.ancestors.includes(runId));
  return (
    <div class="desk">
      <nav aria-label="runs">
        <header>
          <h1>{me.product}</h1>
          <span class="faint">{me.name}</span>
          {!isOpen && <span class="pill t-bad">offline</span>}
        </header>
        {mayRun && (
          <button class="new" onClick={() => choose(NEW)} aria-pressed={chosen === null}>
            New run
          </button>
        )}
        <ul>
          {family(runs).map(({ run, depth }) => (
            <li key={run.run_id} style={{ paddingLeft: `${depth * 14}px` }}>
              <button aria-current={run.run_id === chosen} title={run.run_id} onClick={() => choose(run.run_id)}>
                <span class="line">
                  <b>{depth ? run.name : run.run_id}</b>
                  <span class={`pill t-${tone(run.display_status)}`}>{run.display_status}</span>
                </span>
                <span class="faint brief">{visible(run.title)}</span>
                {waiting(run.run_id) > 0 && <span class="count">{waiting(run.run_id)} to decide</span>}
              </button>
            </li>
          ))}
        </ul>
        {runs.length === 0 && <p class="faint">No runs yet.</p>}
      </nav>
      {chosen !== null ? (
        <RunView key={chosen} runId={chosen} me={me} nudge={nudges[chosen] ?? 0} below={below(chosen)} onChange={soon} />
      ) : (
        <main class="run">
          {problem && (
            <p class="problem" role="alert">
              {problem}
            </p>
          )}
          {asked.length > 0 && (
            <section class="elsewhere" aria-label="waiting for approval">
              <h2>Waiting for approval</h2>
              {asked.map((request) => (
                <div key={`${request.run_id}#${request.number}`}>
                  <button class="link" onClick={() => choose(request.run_id)}>
                    {request.run_id}
                  </button>
                  <Request request={request} mayDecide={mayDecide} onDecided={soon} />
                </div>
              ))}
            </section>
          )}
          {mayRun && (
            <>
              <h2>Start a run</h2>
              <Composer label="Start" prompt={me.prompt} onSend={begin} />
            </>
          )}
        </main>
      )}
    </div>
  );
}

/** The runs in their order, each with the runs that it started right behind it. */
function family(runs: Row[]): { run: Row; depth: number }[] {
  const known = new Set(runs.map((run) => run.run_id));
  const placed: { run: Row; depth: number }[] = [];
  const place = (run: Row, depth: number) => {
    placed.push({ run, depth });
    for (const child of runs) if (child.parent_run_id === run.run_id) place(child, depth + 1);
  };
  for (const run of runs) if (run.parent_run_id === null || !known.has(run.parent_run_id)) place(run, 0);
  return placed;
}

render(<App />, document.getElementById("app")!);
