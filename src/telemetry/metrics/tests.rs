use super::*;
use crate::limits;

fn call(metrics: &Metrics, tool: &str) -> Operation {
    Operation {
        method: "tools/call",
        tool: Some(metrics.tool_label(tool)),
        error: None,
        transport: Transport::Tcp,
        protocol_version: "2025-11-25",
    }
}

#[test]
fn a_call_is_seen_from_both_sides_under_the_names_of_the_conventions() {
    let metrics = Metrics::new();
    let brave = GatewayId::new("brave");
    let operation = call(&metrics, "brave_web_search");
    metrics.server_operation(operation.clone(), Duration::from_millis(30));
    metrics.client_operation(
        &brave,
        Operation {
            error: Some(ErrorType::ToolError),
            transport: Transport::Pipe,
            ..operation
        },
        Duration::from_millis(20),
    );
    let page = metrics.encode();
    for line in [
        "# TYPE mcp_server_operation_duration_seconds histogram",
        r#"mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call",gen_ai_tool_name="brave_web_search",error_type="",network_transport="tcp",mcp_protocol_version="2025-11-25"} 1"#,
        r#"mcp_server_operation_duration_seconds_bucket{le="0.05",mcp_method_name="tools/call",gen_ai_tool_name="brave_web_search",error_type="",network_transport="tcp",mcp_protocol_version="2025-11-25"} 1"#,
        r#"mcp_client_operation_duration_seconds_count{gateway="brave",mcp_method_name="tools/call",gen_ai_tool_name="brave_web_search",error_type="tool_error",network_transport="pipe",mcp_protocol_version="2025-11-25"} 1"#,
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line}\nis not in\n{page}"
        );
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn every_gauge_and_counter_says_what_it_was_told() {
    let metrics = Metrics::new();
    let brave = GatewayId::new("brave");
    let held = [
        metrics.session_opened(),
        metrics.stream_opened(),
        metrics.call_parked(),
        metrics.request_started(),
        metrics.connection_opened(),
    ];
    metrics.upstream_up(&brave, true);
    metrics.breaker_state(&brave, BreakerState::Open);
    metrics.config_generation(3);
    metrics.upstream_restarted(&brave);
    metrics.upstream_reopened(&brave);
    metrics.list_refreshed(&brave, Outcome::Ok);
    metrics.list_refreshed(&brave, Outcome::Failed);
    metrics.slow_reader_dropped();
    metrics.load_shed();
    metrics.limit_hit("connections_max");
    metrics.panicked();
    metrics.server_session_ended("2025-11-25", Duration::from_secs(30));
    let page = metrics.encode();
    let lines: Vec<&str> = page.lines().collect();
    for line in [
        "toolgate_sessions 1",
        "toolgate_streams 1",
        "toolgate_parked_calls 1",
        "toolgate_in_flight 1",
        "toolgate_connections 1",
        r#"toolgate_upstream_up{gateway="brave"} 1"#,
        r#"toolgate_breaker_state{gateway="brave"} 2"#,
        "toolgate_config_generation 3",
        r#"toolgate_upstream_restarts_total{gateway="brave"} 1"#,
        r#"toolgate_upstream_reopens_total{gateway="brave"} 1"#,
        r#"toolgate_list_refreshes_total{gateway="brave",outcome="ok"} 1"#,
        r#"toolgate_list_refreshes_total{gateway="brave",outcome="failed"} 1"#,
        "toolgate_slow_readers_dropped_total 1",
        "toolgate_load_shed_total 1",
        r#"toolgate_limit_hits_total{limit="connections_max"} 1"#,
        "toolgate_panics_total 1",
        r#"mcp_server_session_duration_seconds_count{mcp_protocol_version="2025-11-25"} 1"#,
        concat!(
            r#"toolgate_build_info{version=""#,
            env!("CARGO_PKG_VERSION"),
            r#""} 1"#
        ),
    ] {
        assert!(lines.contains(&line), "{line}\nis not in\n{page}");
    }
    drop(held);
    metrics.forget_gateway(&brave);
    let page = metrics.encode();
    assert!(page.contains("toolgate_sessions 0") && page.contains("toolgate_connections 0"));
    assert!(!page.contains("toolgate_upstream_up{") && !page.contains("toolgate_breaker_state{"));
}

#[test]
fn tool_names_beyond_the_bound_are_counted_as_other() {
    let metrics = Metrics::new();
    for number in 0..limits::METRIC_TOOL_NAMES_MAX + 100 {
        let operation = call(&metrics, &format!("tool_{number}"));
        metrics.server_operation(operation, Duration::ZERO);
    }
    metrics.server_operation(call(&metrics, "tool_0"), Duration::ZERO);
    let page = metrics.encode();
    let count = |tool: &str| {
        let label = format!(r#"gen_ai_tool_name="{tool}""#);
        let line = page
            .lines()
            .find(|line| line.contains("_count{") && line.contains(&label));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!(count("tool_0").as_deref(), Some("2"));
    assert_eq!(count("other").as_deref(), Some("100"));
    let distinct = page.lines().filter(|line| line.contains("_count{")).count();
    assert_eq!(distinct, limits::METRIC_TOOL_NAMES_MAX + 1);
}

#[test]
fn codes_that_an_upstream_made_up_share_one_label() {
    let metrics = Metrics::new();
    for code in [-32_601, -32_000, -32_020, 1, 2, 3, i32::MIN] {
        let operation = Operation {
            error: Some(ErrorType::Code(code)),
            ..call(&metrics, "fetch")
        };
        metrics.server_operation(operation, Duration::ZERO);
    }
    let page = metrics.encode();
    let distinct: Vec<&str> = page.lines().filter(|line| line.contains("_count{")).collect();
    assert_eq!(distinct.len(), 4, "{distinct:?}");
    assert!(
        distinct
            .iter()
            .any(|line| line.contains(r#"error_type="_OTHER""#) && line.ends_with(" 4"))
    );
    assert!(
        distinct
            .iter()
            .any(|line| line.contains(r#"error_type="-32601""#))
    );
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_shows_its_memory_time_and_descriptors() {
    let page = Metrics::new().encode();
    let value = |name: &str| -> f64 {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name}\nis not in\n{page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_open_fds") >= 3.0 && value("process_open_fds") <= value("process_max_fds"));
    assert!(value("process_threads") >= 1.0);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let now = crate::clock::unix_s() as f64;
    assert!((now - 86_400.0..=now + 2.0).contains(&value("process_start_time_seconds")));
}
