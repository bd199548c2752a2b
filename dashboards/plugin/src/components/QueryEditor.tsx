import { QueryEditorProps } from '@grafana/data';
import { config } from '@grafana/runtime';
import { Button, Combobox, InlineField, Input, Stack, TagsInput } from '@grafana/ui';
import { useState } from 'react';

import { DataSource } from '../datasource';
import { channels, EstopOptions, EstopQuery, Format, kinds, Target } from '../types';
import { ActDialog } from './ActDialog';

type Props = QueryEditorProps<DataSource, EstopQuery, EstopOptions>;

/** The formats that a kind has. */
export function formats(kind: string): Format[] {
  const all: Format[] = ['table'];
  if (kinds[kind]?.series) {
    all.push('timeseries');
  }
  if (channels[kind]) {
    all.push('live');
  }
  return all;
}

/** The query of another kind: what that one does not have is dropped. */
export function ofKind(query: EstopQuery, kind: string): EstopQuery {
  const filters = Object.fromEntries(Object.entries(query.filters ?? {}).filter(([name]) => kinds[kind].filters.includes(name)));
  const format = formats(kind).includes(query.format ?? 'table') ? query.format : 'table';
  return { ...query, kind, format, filters };
}

/** What the dialog begins with. */
function suggested(query: EstopQuery): Target {
  const one = (all?: string[]) => (all?.length === 1 && !all[0].includes('$') ? all[0] : '');
  return { tenant: one(query.tenants), scope: 'agent', subject: one(query.filters?.agent) || one(query.filters?.subject) };
}

export function QueryEditor({ datasource, query, onChange, onRunQuery }: Props) {
  const [acting, setActing] = useState(false);
  const change = (next: EstopQuery) => {
    onChange(next);
    onRunQuery();
  };
  const kind = kinds[query.kind] ? query.kind : 'detections';
  const role = config.bootData.user.orgRole;
  return (
    <Stack direction="column" gap={0}>
      <Stack gap={0} wrap="wrap">
        <InlineField label="Show" labelWidth={14}>
          <Combobox
            aria-label="Show"
            width={36}
            value={kind}
            options={Object.entries(kinds).map(([value, k]) => ({ value, label: k.label }))}
            onChange={(o) => change(ofKind(query, o.value))}
          />
        </InlineField>
        <InlineField label="As" labelWidth={6}>
          <Combobox
            aria-label="As"
            width={18}
            value={query.format ?? 'table'}
            options={formats(kind).map((value) => ({ value, label: { table: 'Table', timeseries: 'Time series', live: 'Live' }[value] }))}
            onChange={(o) => change({ ...query, kind, format: o.value })}
          />
        </InlineField>
        <InlineField label="Rows" labelWidth={8} tooltip="at most; empty: 1000">
          <Input
            aria-label="Rows"
            type="number"
            width={10}
            min={0}
            defaultValue={query.limit || ''}
            onBlur={(e) => change({ ...query, kind, limit: Number(e.currentTarget.value) || undefined })}
          />
        </InlineField>
        {(role === 'Admin' || role === 'Editor') && (
          <Button variant="destructive" icon="exclamation-triangle" onClick={() => setActing(true)}>
            Stop or release…
          </Button>
        )}
      </Stack>
      <InlineField label="Tenants" labelWidth={14} tooltip="none: all that this data source may show">
        <TagsInput width={60} tags={query.tenants ?? []} placeholder="name or $variable, then Enter" onChange={(tenants) => change({ ...query, kind, tenants })} />
      </InlineField>
      {kind === 'access' && (
        <InlineField label="Agent" labelWidth={14}>
          <Input aria-label="Agent" width={60} defaultValue={query.agent} onBlur={(e) => change({ ...query, kind, agent: e.currentTarget.value })} />
        </InlineField>
      )}
      {kind === 'explanation' && (
        <InlineField label="Detection" labelWidth={14} tooltip="its id">
          <Input aria-label="Detection" width={60} defaultValue={query.id} onBlur={(e) => change({ ...query, kind, id: e.currentTarget.value })} />
        </InlineField>
      )}
      {kinds[kind].filters.map((name) => (
        <InlineField key={name} label={name} labelWidth={14}>
          <TagsInput
            width={60}
            tags={query.filters?.[name] ?? []}
            placeholder="value or $variable, then Enter"
            onChange={(values) => change({ ...query, kind, filters: { ...query.filters, [name]: values } })}
          />
        </InlineField>
      ))}
      {acting && <ActDialog datasource={datasource} target={suggested(query)} role={role} onDismiss={() => setActing(false)} />}
    </Stack>
  );
}
