//! Puts exposed URIs where an answer names a gateway's own ones. Only where two gateways list the same URI: any other
//! answer passes as it is.

use crate::catalog::listing::Kind;
use crate::catalog::route::Route;
use crate::catalog::snapshot::Snapshot;
use crate::exchange::Answer;
use crate::ids::GatewayId;
use crate::protocol::json::{Object, Raw};
use crate::protocol::message::{Message, Outcome};
use crate::protocol::method::Method;
use crate::protocol::splice::Splice;

/// Tells whether an answer may have to be changed.
pub(super) fn maps(snapshot: &Snapshot, route: &Route) -> bool {
    let mapped_here = route.kind == Kind::Resource && route.own != route.exposed;
    mapped_here || snapshot.maps_uris(&route.gateway)
}

/// Returns the answer with the URIs that clients know.
pub(super) fn exposed(snapshot: &Snapshot, route: &Route, method: Method, answer: Answer) -> Answer {
    if !maps(snapshot, route) {
        return answer;
    }
    let Outcome::Result(result) = &answer.response.outcome else {
        return answer;
    };
    let mut splice = Splice::new(&answer.response.raw);
    let names = Names {
        snapshot,
        gateway: &route.gateway,
        route,
    };
    match method {
        Method::ResourcesRead => each(result, "contents", |item| names.rewrite(item, &mut splice)),
        Method::ToolsCall => each(result, "content", |item| names.rewrite_block(item, &mut splice)),
        Method::PromptsGet => each(result, "messages", |message| {
            if let Some(block) = message.object("content") {
                names.rewrite_block(&block, &mut splice);
            }
        }),
        _ => {}
    }
    match Message::parse(splice.done()) {
        Ok(Message::Response(response)) => Answer { response, ..answer },
        _ => answer,
    }
}

struct Names<'a> {
    snapshot: &'a Snapshot,
    gateway: &'a GatewayId,
    route: &'a Route,
}

impl Names<'_> {
    fn rewrite_block(&self, block: &Object, splice: &mut Splice) {
        self.rewrite(block, splice);
        if let Some(resource) = block.object("resource") {
            self.rewrite(&resource, splice);
        }
    }

    fn rewrite(&self, item: &Object, splice: &mut Splice) {
        let Some(value) = item.get("uri") else { return };
        let Some(own) = value.string() else { return };
        if *own == *self.route.own && self.route.kind == Kind::Resource {
            splice.replace(&value, &Raw::from(&*self.route.exposed));
        } else if let Some(exposed) = self.snapshot.exposed_uri(self.gateway, &own) {
            splice.replace(&value, &Raw::from(exposed));
        }
    }
}

fn each(result: &Object, key: &str, mut rewrite: impl FnMut(&Object)) {
    for item in result
        .get(key)
        .and_then(|items| items.array())
        .into_iter()
        .flatten()
    {
        if let Ok(item) = item.object() {
            rewrite(&item);
        }
    }
}
