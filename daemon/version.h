/*
 * version.h - which egret this is.
 */
#pragma once

#ifndef EGRET_VERSION
#define EGRET_VERSION "0.1.0"
#endif
