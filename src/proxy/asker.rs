//! Which of several gateways asked for input. Its name goes into the `requestState` beside its own state, so that what
//! the client answers goes back to that gateway and to no other. `inbound` seals it all before a client sees it.

use crate::exchange::Answer;
use crate::ids::GatewayId;
use crate::protocol::json::Raw;
use crate::protocol::message::{Message, Outcome};
use crate::protocol::splice::Splice;
use crate::protocol::version::Era;

const GATEWAY: &str = "toolgate/gateway";
const STATE: &str = "state";

/// Notes who asked in an answer that asks; any other passes as it is.
pub(super) fn noted(gateway: &GatewayId, answer: Answer) -> Answer {
    let Outcome::Result(result) = &answer.response.outcome else {
        return answer;
    };
    let asks = result.string("resultType").as_deref() == Some("input_required");
    if answer.era != Era::Modern || !asks {
        return answer;
    }
    let name = Raw::from(gateway.as_str());
    let state = result
        .get("requestState")
        .map(|state| format!(r#","{STATE}":{}"#, state.as_str()));
    let text = format!(
        r#"{{"{GATEWAY}":{}{}}}"#,
        name.as_str(),
        state.unwrap_or_default()
    );
    let Ok(state) = Raw::parse(&text.into()) else {
        return answer;
    };
    let mut splice = Splice::new(&answer.response.raw);
    splice.set(result, "requestState", &state);
    match Message::parse(splice.done()) {
        Ok(Message::Response(response)) => Answer { response, ..answer },
        _ => answer,
    }
}

/// Reads who asked, and the state that it gave; `None` when it was noted nowhere.
pub(super) fn of(state: &Raw) -> Option<(GatewayId, Option<Raw>)> {
    let members = state.object().ok()?;
    let gateway = GatewayId::new(&members.string(GATEWAY)?);
    Some((gateway, members.get(STATE)))
}
