import { Alert, Button, Combobox, Field, Input, Modal, Stack } from '@grafana/ui';
import { useState } from 'react';

import { DataSource } from '../datasource';
import { Order, Outcome, Preview, Scope, scopes, Target } from '../types';

interface Props {
  datasource: Pick<DataSource, 'preview' | 'kill' | 'release'>;
  target: Target;
  /** The role of the person in Grafana. The back end asks again. */
  role: string;
  onDismiss: () => void;
}

/** The order that a target means. The scopes tenant and global have no subject of their own. */
export function aimed(t: Target): Target {
  switch (t.scope) {
    case 'global':
      return { tenant: '', scope: 'global', subject: '' };
    case 'tenant':
      return { ...t, subject: '' };
  }
  return t;
}

/** Whether enough is said to look at what would be hit. Empty never means all. */
export function complete(t: Target): boolean {
  return t.scope === 'global' || (t.tenant !== '' && (t.scope === 'tenant' || t.subject !== ''));
}

/** What somebody should know before they press the button. */
export function warnings(p: Preview): string[] {
  const all: string[] = [];
  if (p.guards === 0) {
    all.push('No guard is known to serve this tenant: nothing would be known to be stopped.');
  }
  if (p.calls === 0) {
    all.push('Nothing of that name made a call in the last day. Is it spelt rightly?');
  }
  if (p.agents > 1) {
    all.push(`${p.agents} agents are hit.`);
  }
  if (p.scope === 'agent' && p.below.length > 0) {
    all.push(`Agents that act for it go on (the scope chain stops them too): ${p.below.join(', ')}.`);
  }
  if (p.two_to_stop) {
    all.push('It takes two operators to stop this: you propose it, and another one approves.');
  }
  return all;
}

const reasonOf = (err: unknown): string => {
  const e = err as { data?: { error?: string; message?: string }; message?: string };
  return e?.data?.error ?? e?.data?.message ?? e?.message ?? String(err);
};

export function ActDialog({ datasource, target: first, role, onDismiss }: Props) {
  const [target, setTarget] = useState<Target>(first);
  const [length, setLength] = useState('15m');
  const [reason, setReason] = useState('');
  const [preview, setPreview] = useState<Preview>();
  const [outcome, setOutcome] = useState<Outcome>();
  const [failure, setFailure] = useState('');
  const [busy, setBusy] = useState(false);

  const aim = (change: Partial<Target>) => {
    setTarget({ ...target, ...change });
    setPreview(undefined);
    setOutcome(undefined);
  };
  const attempt = async (f: () => Promise<void>) => {
    setBusy(true);
    setFailure('');
    try {
      await f();
    } catch (err) {
      setFailure(reasonOf(err));
    } finally {
      setBusy(false);
    }
  };
  const look = () => attempt(async () => setPreview(await datasource.preview(aimed(target))));
  const act = (what: 'kill' | 'release', propose: boolean) =>
    attempt(async () => {
      const order: Order = { ...aimed(target), reason, propose, ...(what === 'kill' ? { for: length } : {}) };
      setOutcome(await datasource[what](order));
    });
  const ready = Boolean(preview) && !preview?.refused && reason !== '' && !busy;

  return (
    <Modal title="Stop or release" isOpen onDismiss={onDismiss}>
      <Field label="What" noMargin>
        <Combobox aria-label="What" value={target.scope} options={scopes.map((value) => ({ value, label: value }))} onChange={(o) => aim({ scope: o.value as Scope })} />
      </Field>
      {target.scope !== 'global' && (
        <Field label="Tenant" noMargin>
          <Input id="act-tenant" aria-label="Tenant" value={target.tenant} onChange={(e) => aim({ tenant: e.currentTarget.value })} />
        </Field>
      )}
      {target.scope !== 'global' && target.scope !== 'tenant' && (
        <Field label={`Name of the ${target.scope}`} noMargin>
          <Input id="act-subject" aria-label="Name" value={target.subject} onChange={(e) => aim({ subject: e.currentTarget.value })} />
        </Field>
      )}
      <Field label="Reason" description="Whoever is denied reads it, and it is kept with your name." noMargin>
        <Input id="act-reason" aria-label="Reason" value={reason} onChange={(e) => setReason(e.currentTarget.value)} />
      </Field>
      <Field label="For how long" description="of a stop, such as 15m or 2h" noMargin>
        <Input id="act-for" aria-label="For how long" value={length} onChange={(e) => setLength(e.currentTarget.value)} />
      </Field>
      {preview && <Hit preview={preview} />}
      {failure && <Alert severity="error" title={failure} />}
      {outcome && <Came outcome={outcome} />}
      <Stack gap={1}>
        <Button variant="secondary" disabled={busy || !complete(target)} onClick={look}>
          Show what is hit
        </Button>
        {role === 'Admin' && (
          <Button variant="destructive" disabled={!ready} onClick={() => act('kill', preview?.two_to_stop ?? false)}>
            {preview?.two_to_stop ? 'Propose to stop' : 'Stop now'}
          </Button>
        )}
        <Button variant="primary" disabled={!ready || !preview?.active} onClick={() => act('release', preview?.two_to_release ?? false)}>
          {preview?.two_to_release ? 'Propose to release' : 'Release'}
        </Button>
      </Stack>
    </Modal>
  );
}

function Hit({ preview: p }: { preview: Preview }) {
  return (
    <>
      <Alert
        severity="info"
        title={`In the last day: ${p.agents} agents, ${p.sessions} sessions, ${p.calls} calls on ${p.resources} resources. ${p.guards} guards serve it.`}
      >
        {p.active ? `In force: ${p.active.action} by ${p.active.by} until ${p.active.until}: ${p.active.reason}` : 'Nothing is in force on it.'}
        {` Detectors stopped ${p.stopped_by_detectors} targets of the tenant in ten minutes, and ${p.held} stops wait for a person. The interlock bounds detectors, and not you.`}
      </Alert>
      {warnings(p).map((w) => (
        <Alert key={w} severity="warning" title={w} />
      ))}
      {p.refused && <Alert severity="error" title={p.refused} />}
    </>
  );
}

function Came({ outcome: o }: { outcome: Outcome }) {
  if (o.waits) {
    return <Alert severity="warning" title={`It waits for a second operator as ${o.waits.order.id}.`} />;
  }
  if (!o.confirmed) {
    const missing = o.stopped?.missing?.length ? ` Not confirmed by ${o.stopped.missing.join(', ')}.` : '';
    return <Alert severity="error" title={`Published, but not confirmed: ${o.warning ?? ''}${missing}`} />;
  }
  return <Alert severity="success" title={`Enforced by ${o.stopped?.acks.map((a) => a.guard).join(', ') || 'all guards'}, as ${o.by} ordered.`} />;
}
