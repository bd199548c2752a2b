import { DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { Alert, FieldSet, InlineField, InlineSwitch, Input, SecretInput, TagsInput } from '@grafana/ui';

import { EstopOptions, EstopSecrets } from '../types';

type Props = DataSourcePluginOptionsEditorProps<EstopOptions, EstopSecrets>;
type Group = 'clickhouse' | 'nats' | 'kafka';

const label = 20;
const width = 50;

export function ConfigEditor({ options, onOptionsChange }: Props) {
  const { jsonData, secureJsonFields, secureJsonData } = options;
  const set = (change: Partial<EstopOptions>) => onOptionsChange({ ...options, jsonData: { ...jsonData, ...change } });
  const setIn = (group: Group, change: object) => set({ [group]: { ...jsonData[group], ...change } });

  const text = (group: Group, name: string, title: string, tooltip: string, placeholder = '') => {
    const id = `estop-${group}-${name}`;
    const values = (jsonData[group] ?? {}) as Record<string, string>;
    return (
      <InlineField label={title} labelWidth={label} tooltip={tooltip} htmlFor={id}>
        <Input id={id} width={width} value={values[name] ?? ''} placeholder={placeholder} onChange={(e) => setIn(group, { [name]: e.currentTarget.value })} />
      </InlineField>
    );
  };
  const flag = (group: Group, name: string, title: string) => {
    const values = (jsonData[group] ?? {}) as Record<string, boolean>;
    return (
      <InlineField label={title} labelWidth={label}>
        <InlineSwitch id={`estop-${group}-${name}`} aria-label={title} value={values[name] ?? false} onChange={(e) => setIn(group, { [name]: e.currentTarget.checked })} />
      </InlineField>
    );
  };
  const secret = (name: keyof EstopSecrets, title: string) => (
    <InlineField label={title} labelWidth={label}>
      <SecretInput
        id={`estop-${name}`}
        aria-label={title}
        width={width}
        isConfigured={Boolean(secureJsonFields?.[name])}
        value={secureJsonData?.[name] ?? ''}
        onReset={() =>
          onOptionsChange({
            ...options,
            secureJsonFields: { ...secureJsonFields, [name]: false },
            secureJsonData: { ...secureJsonData, [name]: '' },
          })
        }
        onChange={(e) => onOptionsChange({ ...options, secureJsonData: { ...secureJsonData, [name]: e.currentTarget.value } })}
      />
    </InlineField>
  );

  return (
    <>
      <FieldSet label="Tenants">
        <InlineField label="All tenants" labelWidth={label} tooltip="Whoever may use this data source sees every tenant.">
          <InlineSwitch
            id="estop-all"
            aria-label="All tenants"
            value={jsonData.allTenants ?? false}
            onChange={(e) => set({ allTenants: e.currentTarget.checked, tenants: e.currentTarget.checked ? [] : jsonData.tenants })}
          />
        </InlineField>
        {!jsonData.allTenants && (
          <InlineField label="Tenants" labelWidth={label} tooltip="No query sees any other, and nobody stops anything of another.">
            <TagsInput width={width} tags={jsonData.tenants ?? []} placeholder="name, then Enter" onChange={(tenants) => set({ tenants })} />
          </InlineField>
        )}
        {!jsonData.allTenants && !jsonData.tenants?.length && (
          <Alert severity="warning" title="Nothing is shown until you name tenants, or say that all may be seen." />
        )}
      </FieldSet>
      <FieldSet label="ClickHouse: what queries ask">
        {text('clickhouse', 'addr', 'Address', 'host:port of the archive', '127.0.0.1:8123')}
        {text('clickhouse', 'protocol', 'Protocol', 'http or native', 'http')}
        {text('clickhouse', 'database', 'Database', 'where the archive writes', 'estop')}
        {text('clickhouse', 'user', 'User', 'one that may read and no more', 'grafana')}
        {secret('clickhousePassword', 'Password')}
        {flag('clickhouse', 'tls', 'TLS')}
      </FieldSet>
      <FieldSet label="NATS: what is live, and how stops get out">
        {text('nats', 'url', 'URL', 'empty: nothing is live, and nobody acts from Grafana', 'nats://127.0.0.1:4222')}
        {text('nats', 'nkey', 'Seed', "file of the operator's seed, on Grafana's machine", '/etc/grafana/estop/operator.nk')}
        {text('nats', 'creds', 'Credentials', 'a .creds file, in the place of the seed')}
        {text('nats', 'ca', 'Authority', 'file of the authority of the server, if it is your own')}
        {text('nats', 'user', 'User', 'in the place of seed and credentials', 'detector')}
        {secret('natsPassword', 'Password')}
      </FieldSet>
      <FieldSet label="Kafka: live detections, and what people did">
        <InlineField label="Brokers" labelWidth={label} tooltip="empty: no detections are live, and nobody acts from Grafana">
          <TagsInput width={width} tags={jsonData.kafka?.brokers ?? []} placeholder="host:port, then Enter" onChange={(brokers) => setIn('kafka', { brokers })} />
        </InlineField>
        {flag('kafka', 'tls', 'TLS')}
        {text('kafka', 'ca', 'Authority', 'file of the authority of the brokers, if it is your own')}
        {text('kafka', 'mechanism', 'SASL', 'plain, scram-sha-256 or scram-sha-512; empty: none')}
        {text('kafka', 'user', 'User', 'of SASL')}
        {secret('kafkaPassword', 'Password')}
      </FieldSet>
      <FieldSet label="Keys: who acts">
        <InlineField
          label="Folder"
          labelWidth={label}
          tooltip="On Grafana's machine: verifier.jwks, and a private key for each login that may act. Empty: nobody acts from Grafana."
        >
          <Input id="estop-keys" aria-label="Folder" width={width} value={jsonData.keys ?? ''} placeholder="/etc/grafana/estop/keys" onChange={(e) => set({ keys: e.currentTarget.value })} />
        </InlineField>
      </FieldSet>
    </>
  );
}
