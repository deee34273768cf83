// One tool call that waits for approval: what it would do, why it needs approval, and the decision.
import { useState } from "preact/hooks";
import { type Approval, type Fields, type Json, Refused, place, send } from "./api";
import { clock, tone, until, visible } from "./format";

type Props = { request: Approval; mayDecide: boolean; onDecided: () => void };

export function Request({ request, mayDecide, onDecided }: Props) {
  const [note, setNote] = useState("");
  const [edited, setEdited] = useState<string | null>(null);
  const [problem, setProblem] = useState("");
  const [isSending, setSending] = useState(false);
  const isPending = request.status === "pending";
  // Where several people decide, or a product's policy does, an edit is no approval: others approve it.
  const isProposal = request.needed > 1 || Boolean(request.policy.product);

  async function decide(decision: "approve" | "deny") {
    const body: Fields = { decision, note, arguments_hash: request.arguments_hash };
    if (decision === "approve" && edited !== null) {
      try {
        body.arguments = JSON.parse(edited);
      } catch (error) {
        return setProblem(`The arguments are not JSON: ${(error as Error).message}`);
      }
      body.decision = "edit";
    }
    setSending(true);
    setProblem("");
    try {
      const { not_resumed } = await send<{ not_resumed: string | null }>(`${place(request.run_id)}/approvals/${request.number}`, body);
      setEdited(null);
      if (not_resumed) setProblem(`Decided; but ${not_resumed}`);
      onDecided();
    } catch (error) {
      setProblem((error as Refused).message);
      if ((error as Refused).status === 409 || (error as Refused).status === 410) onDecided();
    }
    setSending(false);
  }

  return (
    <article class={`request ${isPending ? "open" : ""}`} aria-label={`approval ${request.run_id}#r${request.number}`}>
      <h3>
        <code>{visible(request.tool)}</code>
        <span class={`pill t-${tone(request.status)}`}>{request.status}</span>
        <span class="faint">
          {request.ancestors.length > 0 && `${request.name} `}#r{request.number}
          {isPending && request.expires_at ? `, ${until(request.expires_at)}` : ""}
          {request.needed > 1 ? `, needs ${request.needed} people` : ""}
        </span>
      </h3>
      {request.reason && <p class="reason">{visible(request.reason)}</p>}
      <Edit request={request} />
      <Policy request={request} />
      {edited === null ? (
        <Arguments tool={request.tool} given={finalArguments(request)} />
      ) : (
        <textarea class="mono" aria-label="arguments as JSON" rows={10} value={edited} onInput={(e) => setEdited(e.currentTarget.value)} />
      )}
      {request.decisions.map((decision) => (
        <p class="decision" key={decision.at}>
          {decision.how} by {decision.by} ({decision.via}) at {clock(decision.at)}
          {decision.note && <q>{visible(decision.note)}</q>}
        </p>
      ))}
      {isPending && mayDecide && (
        <div class="decide">
          <input aria-label="note" placeholder="A note; the model reads it" value={note} onInput={(e) => setNote(e.currentTarget.value)} />
          <button class="yes" disabled={isSending} onClick={() => decide("approve")}>
            {edited === null ? "Approve" : isProposal ? "Propose these arguments" : "Approve as edited"}
          </button>
          <button class="no" disabled={isSending} onClick={() => decide("deny")}>
            Deny
          </button>
          {request.policy.edits !== "none" && (
            <button class="link" onClick={() => setEdited(edited === null ? JSON.stringify(finalArguments(request), null, 2) : null)}>
              {edited === null ? "Edit arguments" : "Discard edits"}
            </button>
          )}
        </div>
      )}
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
    </article>
  );
}

const finalArguments = (request: Approval) => request.edited_arguments ?? request.arguments;

/** What a person has changed since the call was asked for: who, what that means for the approvals, and the difference. */
function Edit({ request }: { request: Approval }) {
  if (request.edit_notes.length === 0) return null;
  return (
    <section class="edit" aria-label="edited">
      {request.edit_notes.map((note) => (
        <p key={note}>{note}</p>
      ))}
      <Lines title="what was edited" lines={request.difference} />
    </section>
  );
}

/** What a product says about a call beside its arguments: the exact command, how it is undone, who may decide. */
function Policy({ request }: { request: Approval }) {
  const { undo, group, requester } = request.policy;
  const argv = request.edited_arguments?.argv ?? request.policy.argv;
  const facts: [string, string][] = [];
  if (undo) facts.push(["undo", Array.isArray(undo) ? shell(undo) : text(undo)]);
  if (group) facts.push(["who", text(group)]);
  if (requester) facts.push(["asked for by", text(requester)]);
  if (request.expires_at) facts.push(["until", new Date(request.expires_at).toLocaleString([], { hour12: false })]);
  const command = Array.isArray(argv) ? shell(argv) : null;
  return (
    <>
      {command !== null && <pre class="arguments command">{`$ ${command}`}</pre>}
      {facts.length > 0 && (
        <dl class="facts">
          {facts.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      )}
    </>
  );
}

const text = (value: Json) => visible(typeof value === "string" ? value : JSON.stringify(value));
const shell = (words: Json[]) => words.map((word) => quoted(text(word))).join(" ");
const quoted = (word: string) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

function Arguments({ tool, given }: { tool: string; given: Fields }) {
  const { path, old, new: fresh, text, patch } = given;
  if (tool === "edit_file" && typeof old === "string" && typeof fresh === "string") {
    return <Lines title={String(path)} lines={[...signed("-", old), ...signed("+", fresh)]} />;
  }
  if (tool === "write_file" && typeof text === "string") return <Lines title={String(path)} lines={signed("+", text)} />;
  if (tool === "apply_patch" && typeof patch === "string") return <Lines title="patch" lines={patch.split("\n")} />;
  return <pre class="arguments">{visible(JSON.stringify(given, null, 2))}</pre>;
}

const signed = (sign: string, text: string) => text.replace(/\n$/, "").split("\n").map((line) => `${sign} ${line}`);

function Lines({ title, lines }: { title: string; lines: string[] }) {
  const kind = (line: string) => (line.startsWith("+") ? "plus" : line.startsWith("-") ? "minus" : "");
  return (
    <div class="arguments">
      <div class="mono faint">{visible(title)}</div>
      <pre>
        {lines.map((line, index) => (
          <span key={index} class={kind(line)}>{`${visible(line)}\n`}</span>
        ))}
      </pre>
    </div>
  );
}
