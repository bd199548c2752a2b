import { DataSourceInstanceSettings, ScopedVars } from '@grafana/data';
import { of } from 'rxjs';

import { DataSource } from './datasource';
import { expand, interpolate } from './template';
import { EstopOptions, EstopQuery } from './types';

const fetch = jest.fn();
const getDataStream = jest.fn();
const variables: Record<string, string | string[]> = { tenant: ['acme', "o'neill"], agent: 'bot', none: [] };

/** Does what Grafana's own does with plain names and a function for a format. */
const templates = {
  replace: (text: string, _: ScopedVars, format?: (value: string | string[]) => string) =>
    text.replace(/\$\{?(\w+)\}?/g, (all, name) => {
      const value = variables[name];
      if (value === undefined) {
        return all;
      }
      return format ? format(value) : Array.isArray(value) ? `{${value.join(',')}}` : value;
    }),
} as never;

jest.mock('@grafana/runtime', () => ({
  ...jest.requireActual('@grafana/runtime'),
  getBackendSrv: () => ({ fetch }),
  getGrafanaLiveSrv: () => ({ getDataStream }),
  getTemplateSrv: () => templates,
}));

const source = () => new DataSource({ uid: 'u/1', id: 1, name: 'estop', type: 'estop-datasource', jsonData: {} } as DataSourceInstanceSettings<EstopOptions>);

describe('variables', () => {
  it('with several values become several values, whatever stands in them', () => {
    expect(expand(templates, ['$tenant', 'x-${agent}', 'plain'], {})).toEqual(['acme', "o'neill", 'x-bot', 'plain']);
  });

  it('that Grafana does not know stay as they are', () => {
    expect(expand(templates, ['$unknown'], {})).toEqual(['$unknown']);
  });

  it('without a value leave no filter behind', () => {
    const query: EstopQuery = { refId: 'A', kind: 'calls', tenants: ['$tenant'], filters: { agent: ['${agent}'], action: ['$none'] }, id: '$agent' };
    expect(interpolate(templates, query, {})).toMatchObject({ tenants: ['acme', "o'neill"], filters: { agent: ['bot'] }, id: 'bot' });
    expect(interpolate(templates, query, {}).filters).not.toHaveProperty('action');
  });
});

describe('what people do', () => {
  it('is a POST of JSON with the header that other sites cannot send', async () => {
    fetch.mockReturnValue(of({ data: { confirmed: true } }));
    const order = { tenant: 'acme', scope: 'agent' as const, subject: 'bot', for: '15m', reason: 'seen' };
    expect(await source().kill(order)).toEqual({ confirmed: true });
    expect(fetch).toHaveBeenCalledWith(
      expect.objectContaining({
        url: '/api/datasources/uid/u%2F1/resources/kill',
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'X-Estop-Act': '1' },
        data: order,
      })
    );
  });
});

describe('a live query', () => {
  it('follows the channel of its kind and asks the back end for nothing', () => {
    getDataStream.mockReturnValue(of({ data: [] }));
    const got: unknown[] = [];
    source()
      .query({ targets: [{ refId: 'A', kind: 'latency', format: 'live' }] } as never)
      .subscribe((r) => got.push(r));
    expect(got).toHaveLength(1);
    expect(getDataStream).toHaveBeenCalledWith(expect.objectContaining({ addr: expect.objectContaining({ stream: 'u/1', path: 'acks' }) }));
  });
});
