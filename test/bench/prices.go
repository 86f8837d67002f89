package main

// AWS's published prices in US dollars, without the free tier, for US East (N.
// Virginia), us-east-1, as they were looked up on pricesDate. Other regions differ,
// most of them by less than a fifth. † marks what was not read on AWS's own page,
// which shows its figures only to a browser, but in others' copies of it.
const (
	pricesDate   = "2026-11-23"
	pricesRegion = "us-east-1"

	// perTransition: $0.025 a thousand state transitions of a Standard workflow,
	// retries included (https://aws.amazon.com/step-functions/pricing/).
	perTransition = 0.025 / 1e3
	// perInvocation: $0.20 a million requests; perGBSecond: arm64†
	// (https://aws.amazon.com/lambda/pricing/).
	perInvocation = 0.20 / 1e6
	perGBSecond   = 0.0000133334
	// perAlarm is a standard alarm's month†, perMetric a custom metric's†, and
	// perDashboard a dashboard's† from the account's fourth on; perAPICall: $0.01 a
	// thousand calls such as DescribeAlarms†; perLogGB is a gigabyte taken in†
	// (https://aws.amazon.com/cloudwatch/pricing/).
	perAlarm     = 0.10
	perMetric    = 0.30
	perDashboard = 3.00
	perAPICall   = 0.01 / 1e3
	perLogGB     = 0.50
	// perTrace: $5 a million traces recorded (https://aws.amazon.com/xray/pricing/).
	perTrace = 5.00 / 1e6
	// perRecoveryGB: a gigabyte's month in it†, and with point-in-time recovery†
	// (https://aws.amazon.com/dynamodb/pricing/on-demand/).
	perRead       = 0.125 / 1e6
	perTableGB    = 0.25
	perRecoveryGB = 0.20
	// perKey is a customer key's month (https://aws.amazon.com/kms/pricing/).
	perKey = 1.00
)

// hoursAMonth is what AWS reckons with.
const hoursAMonth = 730

// priceSources names the pages, for people.
const priceSources = "https://aws.amazon.com/step-functions/pricing/, https://aws.amazon.com/lambda/pricing/, https://aws.amazon.com/cloudwatch/pricing/, https://aws.amazon.com/xray/pricing/, https://aws.amazon.com/dynamodb/pricing/on-demand/ and https://aws.amazon.com/kms/pricing/"
