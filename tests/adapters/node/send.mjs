// What a shop would say through each of the two libraries. Arguments: the hub's address, and the write key.
import { Analytics } from '@segment/analytics-node'
import RudderAnalytics from '@rudderstack/rudder-sdk-node'

const [, , host, key] = process.argv

const segment = new Analytics({
  writeKey: key, host, path: '/v1/channels/segment/v1/batch', flushAt: 5, flushInterval: 200,
})
segment.on('error', (error) => { console.error(error); process.exitCode = 1 })
segment.identify({ userId: 'n-1', traits: { email: 'anna@example.org', firstName: 'Анна' } })
segment.track({ userId: 'n-1', anonymousId: 'anon-7', event: 'Order Completed', properties: { total: 1999.5 } })
segment.page({ userId: 'n-1', name: 'Node', category: 'Docs' })
segment.group({ userId: 'n-1', groupId: 'g-9', traits: { name: 'Initech' } })
segment.alias({ userId: 'n-1', previousId: 'anon-7' })
segment.track({ anonymousId: 'anon-7', event: 'Cart Viewed' })
await segment.closeAndFlush()

const rudder = new RudderAnalytics(key, {
  dataPlaneUrl: `${host}/v1/channels/segment`, flushAt: 2, flushInterval: 200,
})
const sent = (error) => { if (error) { console.error(error); process.exitCode = 1 } }
rudder.identify({ userId: 'r-1', traits: { email: 'boris@example.org' } }, sent)
rudder.track({ userId: 'r-1', event: 'Order Completed', properties: { total: 1 } }, sent)
rudder.screen({ userId: 'r-1', name: 'Home' }, sent)
await new Promise((resolve) => rudder.flush((error) => { sent(error); resolve() }))
setTimeout(() => process.exit(), 1500)
