import { DataSourceSettings } from '@grafana/data';
import { fireEvent, render, screen } from '@testing-library/react';

import { EstopOptions, EstopSecrets } from '../types';
import { ConfigEditor } from './ConfigEditor';

function show(jsonData: EstopOptions) {
  const changed = jest.fn();
  const options = { jsonData, secureJsonFields: {}, secureJsonData: {} } as unknown as DataSourceSettings<EstopOptions, EstopSecrets>;
  render(<ConfigEditor options={options} onOptionsChange={changed} />);
  return () => changed.mock.lastCall[0];
}

describe('the settings', () => {
  it('keep what stands beside a field that changes', () => {
    const got = show({ allTenants: true, nats: { url: 'nats://a', nkey: '/seed' }, kafka: { brokers: ['k:1'] } });
    fireEvent.change(screen.getByPlaceholderText('nats://127.0.0.1:4222'), { target: { value: 'nats://b' } });
    expect(got().jsonData).toEqual({ allTenants: true, nats: { url: 'nats://b', nkey: '/seed' }, kafka: { brokers: ['k:1'] } });
  });

  it('of all tenants name none, and of none say that nothing is shown', () => {
    const got = show({});
    expect(screen.queryByText(/Nothing is shown until/)).not.toBeNull();
    fireEvent.click(screen.getByLabelText('All tenants'));
    expect(got().jsonData).toEqual({ allTenants: true, tenants: [] });
  });

  it('send a password apart from the rest', () => {
    const got = show({ allTenants: true });
    fireEvent.change(screen.getAllByLabelText('Password')[0], { target: { value: 'secret' } });
    expect(got().secureJsonData).toEqual({ clickhousePassword: 'secret' });
    expect(JSON.stringify(got().jsonData)).not.toContain('secret');
  });
});
