//! Where the lists of gateways go. The catalog is the one that takes them; tests look on.

use crate::catalog::Catalog;
use crate::catalog::listing::Listing;
use crate::ids::GatewayId;
use crate::upstream::transport::Announced;

/// Takes what gateways list. Called rarely, never on the way of a call; must not block.
pub trait Publish: Send + Sync + 'static {
    /// Takes a gateway's whole list, which may be the same as before.
    fn publish(&self, gateway: &GatewayId, listing: Listing);

    /// This gateway announced that lists changed, between two moments; what it lists now is published next.
    fn announced(&self, gateway: &GatewayId, before: Announced, now: Announced);

    /// This gateway has answered, or its start-up deadline has passed: its names may be given.
    fn looked(&self, gateway: &GatewayId);

    /// This gateway is configured no more.
    fn remove(&self, gateway: &GatewayId);
}

impl Publish for Catalog {
    fn publish(&self, gateway: &GatewayId, listing: Listing) {
        Self::publish(self, gateway, listing);
    }

    fn announced(&self, _: &GatewayId, before: Announced, now: Announced) {
        Self::announced(
            self,
            now.tools > before.tools,
            now.prompts > before.prompts,
            now.resources > before.resources,
        );
    }

    fn looked(&self, gateway: &GatewayId) {
        Self::looked(self, gateway);
    }

    fn remove(&self, gateway: &GatewayId) {
        Self::remove(self, gateway);
    }
}
