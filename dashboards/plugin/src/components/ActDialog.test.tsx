import { configure, fireEvent, render, screen, waitFor } from '@testing-library/react';

import { Order, Outcome, Preview, Target } from '../types';
import { ActDialog, aimed, complete, warnings } from './ActDialog';

// A busy machine is slow.
configure({ asyncUtilTimeout: 30_000 });

const bot: Target = { tenant: 'acme', scope: 'agent', subject: 'bot' };
const hit: Preview = {
  ...bot, agents: 1, sessions: 2, calls: 3, resources: 4, last_call: null, below: [], active: null, guards: 2, stopped_by_detectors: 0, held: 0, two_to_stop: false, two_to_release: false,
};
const enforced: Outcome = { confirmed: true, by: 'ada', stopped: { revocation: { id: '1', until: '' }, acks: [{ guard: 'gate-1', latency_ns: 1 }] } };

function show(role: string, preview: Preview, outcome: Outcome) {
  const datasource = {
    preview: jest.fn(async (_: Target) => preview),
    kill: jest.fn(async (_: Order) => outcome),
    release: jest.fn(async (_: Order) => outcome),
  };
  render(<ActDialog datasource={datasource} target={bot} role={role} onDismiss={() => {}} />);
  return datasource;
}

const button = (name: string) => screen.getByText(name).closest('button') as HTMLButtonElement;
const look = async () => {
  fireEvent.change(screen.getByLabelText('Reason'), { target: { value: 'seen in the logs' } });
  fireEvent.click(button('Show what is hit'));
  await screen.findByText(/In the last day/);
};

describe('the dialog', () => {
  it('stops only after somebody has seen what is hit and said why', async () => {
    const d = show('Admin', hit, enforced);
    expect(button('Stop now').disabled).toBe(true);
    await look();
    fireEvent.click(button('Stop now'));
    await screen.findByText('Enforced by gate-1, as ada ordered.');
    expect(d.kill).toHaveBeenCalledWith({ ...bot, for: '15m', reason: 'seen in the logs', propose: false });
  });

  it('offers an Editor no stop, and a release only of what is stopped', async () => {
    const d = show('Editor', { ...hit, active: { id: '1', action: 'revoke', until: '', by: 'loop', reason: '' } }, enforced);
    expect(screen.queryByText('Stop now')).toBeNull();
    expect(button('Release').disabled).toBe(true);
    await look();
    fireEvent.click(button('Release'));
    await waitFor(() => expect(d.release).toHaveBeenCalledWith({ ...bot, reason: 'seen in the logs', propose: false }));
  });

  it('never says that something is stopped which no guard has confirmed', async () => {
    show('Admin', hit, { confirmed: false, by: 'ada', warning: 'no guard acknowledged' });
    await look();
    fireEvent.click(button('Stop now'));
    await screen.findByText(/Published, but not confirmed: no guard acknowledged/);
    expect(screen.queryByText(/Enforced/)).toBeNull();
  });

  it('proposes what takes two, and stops nobody who may not act', async () => {
    const d = show('Admin', { ...hit, two_to_stop: true }, { confirmed: false, by: 'ada', waits: { order: { id: 'p1' } } });
    await look();
    fireEvent.click(button('Propose to stop'));
    await screen.findByText('It waits for a second operator as p1.');
    expect(d.kill).toHaveBeenCalledWith(expect.objectContaining({ propose: true }));
  });

  it('forgets what it has shown when something else is aimed at', async () => {
    show('Admin', hit, enforced);
    await look();
    fireEvent.change(screen.getByLabelText('Name'), { target: { value: 'other' } });
    expect(button('Stop now').disabled).toBe(true);
  });

  it('is closed to whoever has no key', async () => {
    show('Admin', { ...hit, refused: 'ada has no key' }, enforced);
    await look();
    expect(button('Stop now').disabled).toBe(true);
  });
});

describe('a target', () => {
  it.each<[Target, boolean]>([
    [bot, true],
    [{ ...bot, subject: '' }, false],
    [{ ...bot, tenant: '' }, false],
    [{ tenant: 'acme', scope: 'tenant', subject: '' }, true],
    [{ tenant: '', scope: 'tenant', subject: '' }, false],
    [{ tenant: '', scope: 'global', subject: '' }, true],
  ])('%j is complete: %s', (target, want) => expect(complete(target)).toBe(want));

  it('of everything names nobody, and of a tenant no subject', () => {
    expect(aimed({ ...bot, scope: 'global' })).toEqual({ tenant: '', scope: 'global', subject: '' });
    expect(aimed({ ...bot, scope: 'tenant' })).toEqual({ tenant: 'acme', scope: 'tenant', subject: '' });
  });
});

describe('warnings', () => {
  it('are there where a press of the button would surprise', () => {
    expect(warnings(hit)).toEqual([]);
    const all = warnings({ ...hit, guards: 0, calls: 0, agents: 12, below: ['child'], two_to_stop: true }).join('\n');
    for (const want of ['No guard', 'spelt', '12 agents', 'child', 'two operators']) {
      expect(all).toContain(want);
    }
  });
});
