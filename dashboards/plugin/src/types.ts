import { DataSourceJsonData } from '@grafana/data';
import { DataQuery } from '@grafana/schema';

/** What can be asked, and what it can be filtered by: as kinds.go of the back end has it, which a test there holds this to. */
export const kinds: Record<string, { label: string; filters: string[]; series: boolean }> = {
  calls: { label: 'Calls', series: true, filters: ['action', 'agent', 'id', 'identity', 'outcome', 'resource', 'session'] },
  detections: {
    label: 'Detections',
    series: true,
    filters: ['action', 'agent', 'detector', 'entity', 'entity_by', 'id', 'identity', 'mode', 'resource', 'session', 'severity'],
  },
  explanation: { label: 'Explanation of a detection', series: false, filters: [] },
  features: { label: 'Features, observed and expected', series: true, filters: ['detector', 'entity', 'entity_by', 'feature'] },
  evidence: { label: 'Evidence', series: true, filters: ['detector', 'entity', 'entity_by', 'feature'] },
  access: { label: 'Access graph of an agent', series: false, filters: [] },
  stopped_now: { label: 'Who is stopped now', series: false, filters: ['scope', 'subject'] },
  revocations: {
    label: 'Revocations',
    series: true,
    filters: ['action', 'detection', 'detector', 'id', 'initiator', 'scope', 'subject'],
  },
  coverage: { label: 'Coverage', series: true, filters: ['action', 'revocation', 'scope', 'subject'] },
  latency: { label: 'Kill latency', series: true, filters: ['guard', 'revocation'] },
  guards: { label: 'Guards', series: false, filters: ['guard', 'kind'] },
  waiting: { label: 'What waits for a person', series: false, filters: [] },
  decisions: { label: 'Decisions of people', series: false, filters: ['detector', 'id', 'scope', 'subject', 'verdict'] },
  kills: { label: 'Kills, as annotations', series: false, filters: ['action', 'detector', 'initiator', 'scope', 'subject'] },
  tenants: { label: 'Names of tenants', series: false, filters: [] },
  agents: { label: 'Names of agents', series: false, filters: [] },
  detectors: { label: 'Names of detectors', series: false, filters: [] },
};

/** Kinds that can be followed live. */
export const channels: Record<string, string> = { detections: 'detections', revocations: 'revocations', latency: 'acks' };

export type Format = 'table' | 'timeseries' | 'live';

export interface EstopQuery extends DataQuery {
  kind: string;
  format?: Format;
  tenants?: string[];
  filters?: Record<string, string[]>;
  limit?: number;
  /** Whose surroundings are meant, of the kind access. */
  agent?: string;
  hops?: number;
  /** Of the detection that is to be explained. */
  id?: string;
}

export const defaultQuery: Partial<EstopQuery> = { kind: 'detections', format: 'table' };

export interface EstopOptions extends DataSourceJsonData {
  tenants?: string[];
  allTenants?: boolean;
  clickhouse?: { addr?: string; protocol?: string; database?: string; user?: string; tls?: boolean };
  nats?: { url?: string; user?: string; nkey?: string; creds?: string; ca?: string };
  kafka?: { brokers?: string[]; tls?: boolean; ca?: string; mechanism?: string; user?: string };
  keys?: string;
  rows?: number;
  seconds?: number;
  rate?: number;
  wait?: number;
}

export interface EstopSecrets {
  clickhousePassword?: string;
  natsPassword?: string;
  kafkaPassword?: string;
}

export const scopes = ['agent', 'session', 'identity', 'chain', 'tenant', 'global'] as const;
export type Scope = (typeof scopes)[number];

export interface Target {
  tenant: string;
  scope: Scope;
  subject: string;
}

export interface Order extends Target {
  action?: 'throttle' | 'restrict' | 'revoke';
  for?: string;
  shield?: string;
  reason: string;
  propose?: boolean;
}

/** What an order would hit. */
export interface Preview extends Target {
  agents: number;
  sessions: number;
  calls: number;
  resources: number;
  last_call: string | null;
  below: string[];
  active: { id: string; action: string; until: string; by: string; reason: string } | null;
  guards: number;
  stopped_by_detectors: number;
  held: number;
  two_to_stop: boolean;
  two_to_release: boolean;
  refused?: string;
}

/** What came of an act. */
export interface Outcome {
  confirmed: boolean;
  warning?: string;
  by: string;
  stopped?: { revocation: { id: string; until: string }; acks: Array<{ guard: string; latency_ns: number }>; missing?: string[] };
  waits?: { order: { id: string } };
}
